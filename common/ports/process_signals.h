// What the system asks of the process: to stop, or to read its configuration again.
//
// Purpose: a signal that comes while nobody listens ends the process, as it does any other; none that comes while
// somebody listens is lost, also where one listener follows another. Errors: none. Threads: one listener at a time.
#pragma once

#include <optional>

namespace tillsync {

enum class ProcessSignal { stop, reload };

class ProcessSignals {
 public:
  virtual ~ProcessSignals() = default;
  virtual void listen(bool whether) = 0;
  // Readable while next() has one.
  virtual int descriptor() const = 0;
  // The oldest that came and was not asked for yet.
  virtual std::optional<ProcessSignal> next() = 0;
};

}  // namespace tillsync
