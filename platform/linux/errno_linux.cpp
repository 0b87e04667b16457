#include "platform/linux/errno_linux.h"

#include <cerrno>
#include <new>
#include <system_error>

namespace tillsync {

namespace {

ErrorKind kind_of(int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR: return ErrorKind::not_found;
    case EEXIST:
    case ENOTEMPTY: return ErrorKind::conflict;
    case EACCES:
    case EPERM:
    case EROFS: return ErrorKind::denied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ErrorKind::no_space;
    case EINTR:
    case EAGAIN:
    case EBUSY:
    case ETXTBSY:
    case EMFILE:
    case ENFILE:
    case EIO: return ErrorKind::transient;
    case ENODEV:
    case ENXIO:
    case ESTALE:
    case ENOTCONN:
    case ESHUTDOWN:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ETIMEDOUT:
    case EREMOTEIO: return ErrorKind::offline;
    case ENAMETOOLONG:
    case ELOOP: return ErrorKind::usage;
    default: return ErrorKind::internal;
  }
}

}  // namespace

Error errno_error(int number, std::string_view doing, std::string_view path) {
  if (number == ENOMEM) throw std::bad_alloc();
  // std::generic_category() and not strerror(): the latter's buffer is shared between threads.
  std::string text(doing);
  text.append(" ").append(path).append(": ").append(std::generic_category().message(number));
  return Error{kind_of(number), number, std::move(text)};
}

}  // namespace tillsync
