// What ThreadSanitizer is told not to report: the free list of boost::lockfree reads the link of a
// node that another producer may have taken and be filling; its compare-and-swap then fails by the
// tag, and the value is not used. What the queue hands over is published by its own atomics, which
// ThreadSanitizer goes on to see.

#ifdef __SANITIZE_THREAD__
extern "C" const char* __tsan_default_suppressions() {
    return "race:boost::lockfree::detail::fixed_size_freelist\n"
           "race:boost::lockfree::detail::tagged_index\n";
}
#endif
