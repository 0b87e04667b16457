#include "platform/linux/shared_files_linux.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "platform/linux/errno_linux.h"

namespace tillsync {

namespace {

constexpr uint16_t kRead = 4, kWrite = 2;

std::string name_of_user(uid_t uid) {
  const passwd* user = ::getpwuid(uid);
  return user ? user->pw_name : std::to_string(uid);
}
std::string name_of_group(gid_t gid) {
  const group* its = ::getgrgid(gid);
  return its ? its->gr_name : std::to_string(gid);
}

bool is_in_group(uid_t uid, gid_t gid) {
  const passwd* user = ::getpwuid(uid);
  if (!user) return false;
  int count = 64;
  std::vector<gid_t> groups(static_cast<size_t>(count));
  if (::getgrouplist(user->pw_name, user->pw_gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<size_t>(count));
    if (::getgrouplist(user->pw_name, user->pw_gid, groups.data(), &count) < 0) return false;
  }
  groups.resize(static_cast<size_t>(count));
  return std::find(groups.begin(), groups.end(), gid) != groups.end();
}

// What is made in the folder can be read and written by this user, through an entry of its own in the default ACL.
// Source: acl(5); include/uapi/linux/posix_acl_xattr.h: version 2, then tag, permissions, id, little-endian.
bool default_acl_admits(const std::string& folder, uid_t uid) {
  uint8_t bytes[4096];
  const ssize_t size = ::getxattr(folder.c_str(), "system.posix_acl_default", bytes, sizeof bytes);
  if (size < 4 || bytes[0] != 2) return false;
  constexpr uint16_t kUser = 0x02, kMask = 0x10;
  bool admitted = false;
  uint16_t mask = kRead | kWrite;
  for (ssize_t at = 4; at + 8 <= size; at += 8) {
    const auto u16 = [&](ssize_t i) { return static_cast<uint16_t>(bytes[i] | bytes[i + 1] << 8); };
    const uint32_t id = u16(at + 4) | static_cast<uint32_t>(u16(at + 6)) << 16;
    const uint16_t tag = u16(at), may = u16(at + 2);
    if (tag == kUser && id == uid) admitted = (may & (kRead | kWrite)) == (kRead | kWrite);
    if (tag == kMask) mask = may;
  }
  return admitted && (mask & (kRead | kWrite)) == (kRead | kWrite);
}

}  // namespace

Result<std::string> may_share_database(const std::string& path) {
  struct stat file {
  }, folder{};
  const std::string parent = std::filesystem::path(path).parent_path();
  if (::stat(path.c_str(), &file) != 0) return errno_error(errno, "stat", path);
  if (::stat(parent.c_str(), &folder) != 0) return errno_error(errno, "stat", parent);
  const uid_t self = ::geteuid();
  // SQLite would only say that it can't open it.
  if (::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) return errno_error(errno, "read", path);
  if (self == file.st_uid) return std::string("its owner");
  if (self == 0) return std::string("root");
  // The mode of the database is that of the files beside it: the group's part is also the mask of an ACL.
  const bool group_may = (file.st_mode & 0060) == 0060;
  if (group_may && default_acl_admits(parent, file.st_uid)) return std::string("the folder's default ACL");
  const bool hands_on = (folder.st_mode & S_ISGID) && is_in_group(file.st_uid, folder.st_gid);
  if (group_may && hands_on) return "group " + name_of_group(folder.st_gid) + " of the folder";
  const std::string owner = name_of_user(file.st_uid), group = name_of_group(file.st_gid);
  return Error{ErrorKind::denied, 0,
               "it belongs to " + owner + ", and what " + name_of_user(self) + " would make beside it (-wal, -shm) " +
                   owner + " could not write: run the agent as " + owner +
                   " (tillsync init --unit), or share the folder: chgrp " + group + " " + parent + "; chmod 2770 " +
                   parent + "; chmod 0660 " + path + "; and " + name_of_user(self) + " into group " + group};
}

}  // namespace tillsync
