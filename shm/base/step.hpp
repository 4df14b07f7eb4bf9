#pragma once
// A named point before one access to shared memory, where a test may kill, stop or switch.
//
//   Release   SHM_STEP compiles to nothing.
//   Tests     built with TELPHER_STEPS, every point calls `step_hook` (see tests/crash): the
//             harness counts points, and at the n-th one kills or stops the process, for every n.

namespace telpher::shm {
#ifdef TELPHER_STEPS
// Set once before any thread uses the library; null = do nothing.
inline void (*step_hook)(const char* name) = nullptr;
inline void step(const char* name) {
    if (step_hook != nullptr) {
        step_hook(name);
    }
}
#define SHM_STEP(name) ::telpher::shm::step(name)
#else
#define SHM_STEP(name) static_cast<void>(0)
#endif
}  // namespace telpher::shm
