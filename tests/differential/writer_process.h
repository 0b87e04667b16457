// The random writer as a child of the test, spoken to through pipes.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "differential/writer_answer.h"

namespace tillsync::test {

class WriterProcess {
 public:
  struct Options {
    std::string database;
    uint64_t seed = 0;
    int first_name = 0;
    uint64_t rows_max = 0;
    std::string pragmas;
    std::string errors;  // file that gets what it complains about
  };
  explicit WriterProcess(const Options& options);
  ~WriterProcess();  // kills it, if it still runs
  WriterProcess(const WriterProcess&) = delete;

  // Fails the test when it dies instead.
  WriterAnswer ask(const std::string& request);
  void send(const std::string& request);
  bool has_answered(int wait_ms) const;
  WriterAnswer receive();
  // It dies in this request, as it was told before; gone when this returns.
  void ask_and_die(const std::string& death, const std::string& request);
  // Closes its connection and ends.
  void quit();

 private:
  bool read_exactly(void* out, size_t size);
  int wait();
  Options options_;
  pid_t pid_ = 0;
  int to_ = -1, from_ = -1;
};

}  // namespace tillsync::test
