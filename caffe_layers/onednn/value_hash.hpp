#ifndef CAFFE_ONEDNN_VALUE_HASH_HPP_
#define CAFFE_ONEDNN_VALUE_HASH_HPP_

#include <cstddef>
#include <cstdint>

namespace caffe {

/// A hash of the bits of an array, by all threads: tells whether weights have changed since copies
/// of them were made.
uint64_t ValueHash(const float* values, size_t count);

}  // namespace caffe

#endif  // CAFFE_ONEDNN_VALUE_HASH_HPP_
