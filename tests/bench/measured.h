// A program run to its end, and what it took: by the operating system's accounting.
//
// Errors: std::logic_error with the command line and the end of its output, when it can't be started or fails.
// Threads: any.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tillsync::test {

struct Took {
  double seconds = 0;
  double cpu = 0;       // seconds, user and system, of it and of the children it waited for
  double peak_kib = 0;  // resident; of a program that has children: the largest of them
};

// words[0] is looked for in PATH. `variables` are added to the environment. Output is kept only for errors.
Took run_measured(const std::vector<std::string>& words,
                  const std::vector<std::pair<std::string, std::string>>& variables = {});

// The same with standard output, for what is asked of a program rather than measured.
std::string output_of(const std::vector<std::string>& words,
                      const std::vector<std::pair<std::string, std::string>>& variables = {});

// The sum of the sizes of all files below `folder`, in bytes. A program that writes there meanwhile does no harm.
double bytes_below(const std::string& folder);

// What was written goes to the disk now, so that no side pays for the one before it.
void settle_disk();

}  // namespace tillsync::test
