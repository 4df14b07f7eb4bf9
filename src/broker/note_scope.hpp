#pragma once
// What the thread commits meanwhile is noted: of a request that the idempotency store knows.

#include "shm/thread_context.hpp"

namespace telpher::detail {

class NoteScope {
  public:
    // `note`: nullptr, nothing is.
    NoteScope(shm::ThreadContext& context, shm::Word* note) : context_(context) {
        context_.note = note;
    }
    NoteScope(const NoteScope&) = delete;
    NoteScope& operator=(const NoteScope&) = delete;
    ~NoteScope() { context_.note = nullptr; }

  private:
    shm::ThreadContext& context_;
};

}  // namespace telpher::detail
