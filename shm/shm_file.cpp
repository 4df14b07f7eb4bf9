#include "shm/shm_file.hpp"

#include "shm/layout.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace telpher::shm {
namespace {

// Who may have made a segment that we trust: ourselves, root, or a group we belong to if it says
// 0660.
bool trusted_owner(const struct stat& facts) {
    if (facts.st_uid == geteuid() || facts.st_uid == 0) {
        return true;
    }
    if ((facts.st_mode & 0060) != 0060) {
        return false;
    }
    gid_t groups[256];
    const int count = getgroups(256, groups);
    return facts.st_gid == getegid() ||
           (count > 0 && std::find(groups, groups + count, facts.st_gid) != groups + count);
}

}  // namespace

std::string path_of(std::string_view file_name) {
    return std::string(kShmFolder) + std::string(file_name);
}

std::string public_file(std::string_view name) {
    return std::string(kFilePrefix) + std::string(name);
}

std::string private_file(std::string_view name, const Uuid& uuid, std::uint32_t index) {
    return public_file(name) + "." + to_string(uuid) + "." + std::to_string(index);
}

std::string sibling_file(std::string_view private_name, std::uint32_t index) {
    return std::string(private_name.substr(0, private_name.rfind('.') + 1)) + std::to_string(index);
}

bool is_private_file(std::string_view file_name) {
    // ... "." 32 hexadecimal digits "." digits
    const std::size_t last = file_name.rfind('.');
    if (last == std::string_view::npos || last < 33 || last + 1 == file_name.size() ||
        file_name[last - 33] != '.') {
        return false;
    }
    const std::string_view hex = file_name.substr(last - 32, 32);
    const std::string_view number = file_name.substr(last + 1);
    return hex.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
           number.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_first_file(std::string_view private_name) { return private_name.ends_with(".0"); }

Error open_error(std::string_view file_name, int error) {
    const std::string where = path_of(file_name);
    switch (error) {
        case ENOENT:
            return {Status::domain_not_found, error, where + " does not exist"};
        case ELOOP:
            return {Status::not_permitted,
                    error,
                    where + " is a symbolic link: somebody squats on the name"};
        case EACCES:
        case EPERM:
            return {Status::not_permitted, error, where + " may not be opened by this user"};
        case EISDIR:
        case EINVAL:  // glibc's shm_open says so for a folder
            return {Status::corrupt, error, where + " is a folder, not a segment"};
        case ENXIO:
            return {Status::corrupt, error, where + " is a socket or pipe, not a segment"};
        case ENOSPC:
        case ENOMEM:
            return {Status::out_of_memory, error, errno_text(where.c_str(), error)};
        default:
            return {Status::server_error, error, errno_text(where.c_str(), error)};
    }
}

Result<void> check_file(std::string_view file_name, const struct stat& facts) {
    const std::string where = path_of(file_name);
    if (!S_ISREG(facts.st_mode)) {
        return Error{Status::corrupt, 0, where + " is not a regular file"};
    }
    if (!trusted_owner(facts)) {
        return Error{Status::not_permitted,
                     0,
                     where + " belongs to user " + std::to_string(facts.st_uid) +
                         ", not to this user, root or a 0660 group of ours"};
    }
    if ((facts.st_mode & 0117) != 0) {
        char mode[8];
        std::snprintf(mode, sizeof mode, "%04o", facts.st_mode & 07777U);
        return Error{Status::not_permitted,
                     0,
                     where + " has mode " + mode +
                         ", allowed are 0600 and 0660: others could have written it"};
    }
    if (static_cast<std::uint64_t>(facts.st_size) < kPageBytes) {
        return Error{Status::corrupt,
                     0,
                     where + " has " + std::to_string(facts.st_size) +
                         " bytes, a segment's header alone has " + std::to_string(kPageBytes)};
    }
    return {};
}

int reserve_file(int descriptor, std::uint64_t bytes) {
    int error = EINTR;
    for (int attempt = 0; error == EINTR && attempt < 100; ++attempt) {
        error = posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
    }
    return error;
}

}  // namespace telpher::shm
