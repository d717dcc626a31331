// Runs the layers' unit tests; with --gpu only those of the GPU. Where a CUDA build finds no GPU,
// they are skipped, each with the reason.

#include <cstdio>
#include <cstring>
#include <string>

#include "caffe/common.hpp"
#include "gtest/gtest.h"

namespace {

bool IsForGPU(const ::testing::TestCase& tests) {
  return std::string(tests.name()).find("GPU") != std::string::npos ||
         (tests.type_param() != nullptr &&
          std::string(tests.type_param()).find("GPUDevice") != std::string::npos);
}

// Why no GPU can be used, or nothing if one can.
std::string MissingGPU() {
#ifdef CPU_ONLY
  return "this build is for the CPU only";
#else
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
#endif
}

// Adds to the negative part of gtest's filter the tests that are not for this machine.
void FilterTests(const std::string& missing_gpu, bool gpu_only) {
  std::string filter = ::testing::GTEST_FLAG(filter).c_str();
  filter += filter.find('-') == std::string::npos ? "-" : ":";
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_case_count(); ++i) {
    const ::testing::TestCase& tests = *all.GetTestCase(i);
    const bool skipped = IsForGPU(tests) && !missing_gpu.empty();
    if (skipped) {
      std::printf("[  SKIPPED ] %s, %d tests: %s\n", tests.name(), tests.total_test_count(),
                  missing_gpu.c_str());
    }
    if (skipped || (gpu_only && !IsForGPU(tests))) {
      filter += std::string(tests.name()) + ".*:";
    }
  }
  ::testing::GTEST_FLAG(filter) = filter.c_str();
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const bool gpu_only = argc > 1 && std::strcmp(argv[1], "--gpu") == 0;
  if (gpu_only) {  // Caffe does not know the flag
    argv[1] = argv[0];
    ++argv;
    --argc;
  }
  caffe::GlobalInit(&argc, &argv);
  FilterTests(MissingGPU(), gpu_only);
  return RUN_ALL_TESTS();
}
