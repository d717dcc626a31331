// Runs the layers' unit tests. Where a CUDA build finds no GPU, the tests of the GPU are skipped,
// each with the reason.

#include <cstdio>
#include <string>

#include "caffe/common.hpp"
#include "gtest/gtest.h"

namespace {

#ifndef CPU_ONLY
// Why no GPU can be used, or nothing if one can.
std::string MissingGPU() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess) {
    return cudaGetErrorString(error);
  }
  return devices == 0 ? "there is no CUDA device" : "";
}

bool IsForGPU(const ::testing::TestCase& tests) {
  return std::string(tests.name()).find("GPU") != std::string::npos ||
         (tests.type_param() != nullptr &&
          std::string(tests.type_param()).find("GPUDevice") != std::string::npos);
}

void SkipGPU(const std::string& reason) {
  std::string filter = ::testing::GTEST_FLAG(filter).c_str();
  filter += filter.find('-') == std::string::npos ? "-" : ":";
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_case_count(); ++i) {
    const ::testing::TestCase& tests = *all.GetTestCase(i);
    if (IsForGPU(tests)) {
      std::printf("[  SKIPPED ] %s, %d tests: %s\n", tests.name(), tests.total_test_count(),
                  reason.c_str());
      filter += std::string(tests.name()) + ".*:";
    }
  }
  ::testing::GTEST_FLAG(filter) = filter.c_str();
}
#endif

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  caffe::GlobalInit(&argc, &argv);
#ifndef CPU_ONLY
  const std::string reason = MissingGPU();
  if (!reason.empty()) {
    SkipGPU(reason);
  }
#endif
  return RUN_ALL_TESTS();
}
