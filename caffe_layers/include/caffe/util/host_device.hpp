#ifndef CAFFE_UTIL_HOST_DEVICE_HPP_
#define CAFFE_UTIL_HOST_DEVICE_HPP_

/// Marks a function that is compiled for the host and, by nvcc, for the device as well.
#ifdef __CUDACC__
#define AUTOCOLOR_HOST_DEVICE __host__ __device__
#else
#define AUTOCOLOR_HOST_DEVICE
#endif

#endif  // CAFFE_UTIL_HOST_DEVICE_HPP_
