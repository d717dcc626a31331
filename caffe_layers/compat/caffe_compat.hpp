// Force-included before every source of Caffe: supplies what newer libraries dropped, so that
// Caffe's own C++ stays unedited.
#ifndef AUTOCOLOR_CAFFE_COMPAT_HPP_
#define AUTOCOLOR_CAFFE_COMPAT_HPP_

#include <google/protobuf/io/coded_stream.h>

// protobuf 3.21 removed the second argument (a warning threshold) of this member function.
#define SetTotalBytesLimit(limit, ...) SetTotalBytesLimit(limit)

#ifndef CPU_ONLY
#include <cuda_runtime.h>
#if CUDART_VERSION >= 13000
namespace autocolor_compat {

/// CUDA 13 moved three properties of a device, which Caffe prints, to attributes.
struct DeviceProperties : cudaDeviceProp {
  int clockRate;
  int deviceOverlap;
  int kernelExecTimeoutEnabled;
};

inline cudaError_t Read(DeviceProperties* properties, int device) {
  cudaError_t error = cudaGetDeviceProperties(properties, device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&properties->clockRate, cudaDevAttrClockRate, device);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&properties->deviceOverlap, cudaDevAttrGpuOverlap, device);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&properties->kernelExecTimeoutEnabled,
                                   cudaDevAttrKernelExecTimeout, device);
  }
  return error;
}

}  // namespace autocolor_compat

#define cudaDeviceProp autocolor_compat::DeviceProperties
#define cudaGetDeviceProperties autocolor_compat::Read
#endif  // CUDART_VERSION
#endif  // CPU_ONLY

#endif  // AUTOCOLOR_CAFFE_COMPAT_HPP_
