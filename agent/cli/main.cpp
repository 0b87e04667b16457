// tillsync: the command line. Everything it does is in run_cli(); here it meets the process.
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string_view>

#include "agent/cli/cli.h"
#include "agent/cli/direct_store.h"
#include "crypto/secret.h"

namespace {

volatile sig_atomic_t interrupted = 0;

// The first signal asks; everything under way ends in order. The second ends at once.
void on_signal(int) {
  if (interrupted) ::_exit(130);
  interrupted = 1;
}

bool may_colour() {
  const char* term = std::getenv("TERM");
  return std::getenv("NO_COLOR") == nullptr && term != nullptr && std::string_view(term) != "dumb";
}

}  // namespace

int main(int argc, char** argv) {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  tillsync::protect_secrets();
  tillsync::CliEnvironment environment{.out = std::cout, .err = std::cerr};
  environment.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  environment.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  environment.colour = may_colour();
  std::error_code unknown;
  environment.program = std::filesystem::read_symlink("/proc/self/exe", unknown).string();
  environment.is_interrupted = [] { return interrupted != 0; };
  environment.open_store = tillsync::open_store_directly;
  if (::isatty(STDIN_FILENO) == 1 && environment.err_is_terminal) {
    environment.ask = [](const std::string& question) {
      std::cerr << question << std::flush;
      std::string line;
      std::getline(std::cin, line);
      return line;
    };
    environment.ask_secret = [ask = environment.ask](const std::string& question) {
      termios shown{};
      const bool hides = ::tcgetattr(STDIN_FILENO, &shown) == 0;
      termios hidden = shown;
      hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
      if (hides) ::tcsetattr(STDIN_FILENO, TCSANOW, &hidden);
      std::string line = ask(question);
      if (hides) ::tcsetattr(STDIN_FILENO, TCSANOW, &shown);
      std::cerr << "\n";
      return line;
    };
  }
  try {
    return tillsync::run_cli(std::vector<std::string>(argv + 1, argv + argc), environment);
  } catch (const std::exception& bug) {
    std::cerr << "tillsync: a fault of the program: " << bug.what() << std::endl;
    return 1;
  }
}
