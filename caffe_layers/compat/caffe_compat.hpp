// Force-included before every source of Caffe: supplies what newer libraries dropped, so that
// Caffe's own C++ stays unedited.
#ifndef AUTOCOLOR_CAFFE_COMPAT_HPP_
#define AUTOCOLOR_CAFFE_COMPAT_HPP_

#include <google/protobuf/io/coded_stream.h>

// protobuf 3.21 removed the second argument (a warning threshold) of this member function.
#define SetTotalBytesLimit(limit, ...) SetTotalBytesLimit(limit)

#endif  // AUTOCOLOR_CAFFE_COMPAT_HPP_
