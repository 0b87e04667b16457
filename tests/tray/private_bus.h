// A session bus of a test's own, and connections to it that are served while a test waits.
#pragma once

#include <doctest/doctest.h>
#include <systemd/sd-bus.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "agent/cli/child_process.h"
#include "support/results.h"
#include "support/temporary_directory.h"

namespace tillsync::test {

inline const std::string kDbusDaemon = "/usr/bin/dbus-daemon";

// Says so, and ends the case, where there is no bus to be had.
#define TILLSYNC_NEEDS_SESSION_BUS()                                     \
  if (!std::filesystem::exists(tillsync::test::kDbusDaemon)) {           \
    MESSAGE("skipped: " << kDbusDaemon << " is missing (package dbus)"); \
    return;                                                              \
  }

class PrivateBus {
 public:
  PrivateBus() {
    std::ofstream(folder_ / "bus.conf") << "<busconfig><type>session</type><listen>unix:path=" << folder_ / "bus"
                                        << "</listen><auth>EXTERNAL</auth><policy context=\"default\">"
                                           "<allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>"
                                           "<allow receive_sender=\"*\"/></policy></busconfig>\n";
    start();
  }
  void start() {
    daemon_ = must(ChildProcess::start(
        {kDbusDaemon, "--config-file=" + folder_ / "bus.conf", "--nofork", "--nopidfile"}, folder_ / "bus.log"));
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    sd_bus* first = nullptr;
    while ((first = connect()) == nullptr) {
      if (std::chrono::steady_clock::now() > end) FAIL("no bus came up");
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    sd_bus_flush_close_unref(first);
  }
  void kill() { daemon_.kill(); }
  std::string address() const { return "unix:path=" + folder_ / "bus"; }
  // nullptr where nobody answers.
  sd_bus* connect() {
    sd_bus* bus = nullptr;
    sd_bus_new(&bus);
    sd_bus_set_address(bus, address().c_str());
    sd_bus_set_bus_client(bus, 1);
    if (sd_bus_start(bus) >= 0) return bus;
    sd_bus_unref(bus);
    return nullptr;
  }

 private:
  TemporaryDirectory folder_;
  ChildProcess daemon_;
};

}  // namespace tillsync::test
