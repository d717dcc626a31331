#ifndef CAFFE_UTIL_STREAM_COPY_HPP_
#define CAFFE_UTIL_STREAM_COPY_HPP_

#include <algorithm>
#include <cstdint>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace caffe {

/// Copies values past the caches, where the processor can: for large results that nobody reads
/// soon. Whole cache lines are then written without being read first, which halves the traffic.
/// `to` may have any alignment. StreamFence() makes the values visible to other threads.
template <typename Dtype>
void StreamCopy(const Dtype* from, int64_t count, Dtype* to) {
#ifdef __SSE2__
  const int64_t line = 64 / sizeof(Dtype), half = 16 / sizeof(Dtype);
  const int64_t past = reinterpret_cast<uintptr_t>(to) % 64 / sizeof(Dtype);
  const int64_t head = std::min(count, (line - past) % line);
  std::copy(from, from + head, to);
  int64_t i = head;
  for (; i + line <= count; i += line) {
    for (int64_t k = i; k < i + line; k += half) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + k),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k)));
    }
  }
  std::copy(from + i, from + count, to + i);
#else
  std::copy(from, from + count, to);
#endif
}

inline void StreamFence() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

}  // namespace caffe

#endif  // CAFFE_UTIL_STREAM_COPY_HPP_
