#pragma once
// Files in /dev/shm: their names, and whether one that was found may be trusted.

#include "telpher/result.hpp"

#include "shm/base/os.hpp"

#include <string>
#include <string_view>

struct stat;

namespace telpher::shm {

inline constexpr std::string_view kShmFolder = "/dev/shm/";
inline constexpr std::string_view kFilePrefix = "telpher.";

// "/dev/shm/FILE".
std::string path_of(std::string_view file_name);
// "telpher.NAME".
std::string public_file(std::string_view name);
// "telpher.NAME.UUID.INDEX": 0 = the first segment, others are data segments.
std::string private_file(std::string_view name, const Uuid& uuid, std::uint32_t index = 0);
// The same with another index. `private_name` is of that form.
std::string sibling_file(std::string_view private_name, std::uint32_t index);
// Whether a file name has the shape of a private one (so that no domain may be called like that).
bool is_private_file(std::string_view file_name);
// Whether it is the first segment's.
bool is_first_file(std::string_view private_name);

// What a failed open of `file_name` means.
Error open_error(std::string_view file_name, int error);
// Errors: corrupt (no regular file, shorter than a page), not_permitted (owner, mode).
Result<void> check_file(std::string_view file_name, const struct stat& facts);
// Gives a file memory for all its bytes, so that none is missing later. 0 or errno.
int reserve_file(int descriptor, std::uint64_t bytes);

}  // namespace telpher::shm
