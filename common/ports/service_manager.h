// What started the agent and watches over it: systemd, the Windows service manager, or a person in a terminal.
//
// Purpose: it is told when the agent works, what it is at, and that it is alive. Units: milliseconds. Errors: none; who
// can't be told is not told. Threads: any.
#pragma once

#include <chrono>
#include <string>

namespace tillsync {

class ServiceManager {
 public:
  virtual ~ServiceManager() = default;
  // Capture runs and control answers. Also ends reloading(). status: one line for people.
  virtual void ready(const std::string& status) = 0;
  virtual void status(const std::string& status) = 0;
  virtual void reloading() = 0;
  virtual void stopping() = 0;
  // How long it waits for alive() before it takes the agent for hung; zero: it does not watch.
  virtual std::chrono::milliseconds patience() const = 0;
  virtual void alive() = 0;
};

}  // namespace tillsync
