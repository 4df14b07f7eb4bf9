#pragma once
// The functions of one Server or Client: those it has called, by name.
//
//   Threads   any number at once.
//   Lifetime  a called function stays pinned until it is called again and found closed, or this ends.

#include "telpher/function.hpp"
#include "telpher/future.hpp"

#include "src/broker/call_target.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace telpher::detail {

class DomainCore;

class Functions {
  public:
    explicit Functions(DomainCore& domain) : domain_(domain) {}
    Functions(const Functions&) = delete;
    Functions& operator=(const Functions&) = delete;
    ~Functions() = default;

    // `name`: as in the directory (kDefaultFunction, or one that was checked).
    Result<Function> serve(std::string_view name, Handler handler, const ServeOptions& options);
    Result<Message> send(std::string_view name,
                         const Message& request,
                         Duration timeout,
                         const SendOptions& options);
    Future<Message> send_async(std::string_view name,
                               const Message& request,
                               Duration timeout,
                               const SendOptions& options);
    Result<void> send_oneway(std::string_view name,
                             const Message& request,
                             Duration timeout,
                             const SendOptions& options);
    Result<FunctionStatus> status(std::string_view name);
    // Whether it remembers requests. Errors: as status.
    Result<bool> remembers(std::string_view name);
    // What `timeout`, which was checked, comes to; its maximum if the function is not there.
    Duration resolve(std::string_view name, const Timeout& timeout);

  private:
    Result<shm::Found> find_or_make(std::string_view name, const ServeOptions& options);
    Result<std::shared_ptr<CallTarget>> target(std::string_view name, const SendOptions& options);
    Result<std::shared_ptr<CallTarget>> open(std::string_view name, const SendOptions& options);
    template <typename T, typename Attempt>
    Result<T> with_target(std::string_view name,
                          Duration timeout,
                          const SendOptions& options,
                          Attempt&& attempt);
    // At most what the domain's settings say.
    [[nodiscard]] Duration capped(Duration timeout) const noexcept;
    void forget(std::string_view name, const std::shared_ptr<CallTarget>& target);

    DomainCore& domain_;
    std::mutex mutex_;  // guards targets_
    std::map<std::string, std::shared_ptr<CallTarget>, std::less<>> targets_;
};

}  // namespace telpher::detail
