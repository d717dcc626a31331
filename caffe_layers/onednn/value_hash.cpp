#include "onednn/value_hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <vector>

#include "caffe/util/parallel_for.hpp"

namespace caffe {

uint64_t ValueHash(const float* values, size_t count) {
  const size_t chunk = 1 << 18;
  std::vector<uint64_t> hashes((count + chunk - 1) / chunk);
  ParallelFor(hashes.size(), [&](int64_t i) {
    const size_t first = i * chunk;
    hashes[i] = XXH3_64bits(values + first, std::min(chunk, count - first) * sizeof(float));
  });
  return XXH3_64bits(hashes.data(), hashes.size() * sizeof(uint64_t));
}

}  // namespace caffe
