#ifdef USE_HDF5
#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

namespace {

/// Owns HDF5's type of two bytes of which NumPy writes float16.
class HalfType {
 public:
  HalfType() : id_(H5Tcopy(H5T_IEEE_F32LE)) {
    CHECK_GE(H5Tset_fields(id_, 15, 10, 5, 0, 10), 0);
    CHECK_GE(H5Tset_size(id_, 2), 0);
    CHECK_GE(H5Tset_ebias(id_, 15), 0);
  }
  ~HalfType() { H5Tclose(id_); }
  hid_t id() const { return id_; }

 private:
  const hid_t id_;
};

std::vector<uint16_t> AllHalves() {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) {
    halves[i] = static_cast<uint16_t>(i);
  }
  return halves;
}

/// What HDF5 makes of halves, in its own place as when it reads a file.
template <typename Value>
std::vector<Value> Converted(const std::vector<uint16_t>& halves, hid_t type) {
  std::vector<Value> values(halves.size());
  std::copy(halves.begin(), halves.end(), reinterpret_cast<uint16_t*>(values.data()));
  const HalfType half;
  CHECK_GE(H5Tconvert(half.id(), type, halves.size(), values.data(), nullptr, H5P_DEFAULT), 0);
  return values;
}

/// Whether both are the same, the sign of zero and that there is no number included.
void ExpectSame(float expected, float value, size_t half) {
  EXPECT_EQ(std::isnan(expected), std::isnan(value)) << half;
  if (!std::isnan(expected)) {
    EXPECT_EQ(expected, value) << half;
  }
  EXPECT_EQ(std::signbit(expected), std::signbit(value)) << half;
}

}  // namespace

TEST(Hdf5HalfTest, TestLiterals) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<uint16_t> halves{0x0000, 0x3c00, 0xc000, 0x3555, 0x7bff,
                                     0x0001, 0x83ff, 0x7c00, 0xfc00};
  const std::vector<float> expected{0.f,      1.f,           -2.f,     0x1.554p-2f, 65504.f,
                                    0x1p-24f, -0x1.ff8p-15f, infinity, -infinity};
  EXPECT_EQ(expected, Converted<float>(halves, H5T_NATIVE_FLOAT));
}

// All of them, against the standard's formula.
TEST(Hdf5HalfTest, TestAgainstFormula) {
  const std::vector<float> values = Converted<float>(AllHalves(), H5T_NATIVE_FLOAT);
  for (size_t half = 0; half < values.size(); ++half) {
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    double expected =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) {
      expected = fraction == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
    }
    ExpectSame(static_cast<float>(std::copysign(expected, half >> 15 ? -1. : 1.)), values[half],
               half);
  }
}

// To double HDF5 goes its own way, bit by bit.
TEST(Hdf5HalfTest, TestAgainstHdf5) {
  const std::vector<float> values = Converted<float>(AllHalves(), H5T_NATIVE_FLOAT);
  const std::vector<double> expected = Converted<double>(AllHalves(), H5T_NATIVE_DOUBLE);
  for (size_t half = 0; half < values.size(); ++half) {
    if (!std::isnan(values[half])) {
      ExpectSame(static_cast<float>(expected[half]), values[half], half);
    }
  }
}

// Blocks overlap what is not read yet in every way that their number and the last one's size allow.
TEST(Hdf5HalfTest, TestCounts) {
  for (const size_t count : {1, 2, 255, 256, 257, 511, 513, 1000, 4225}) {
    std::vector<uint16_t> halves(count);
    for (size_t i = 0; i < count; ++i) {
      halves[i] = static_cast<uint16_t>(0x3c00 + i % 1024);  // 1 + (i % 1024) / 1024
    }
    const std::vector<float> values = Converted<float>(halves, H5T_NATIVE_FLOAT);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(1.f + static_cast<float>(i % 1024) / 1024.f, values[i]) << count << ", " << i;
    }
  }
}

// Members of a compound lie apart.
TEST(Hdf5HalfTest, TestStride) {
  struct Pair {
    float value;
    int32_t other;
  };
  const HalfType half;
  const hid_t from = H5Tcreate(H5T_COMPOUND, 6), to = H5Tcreate(H5T_COMPOUND, sizeof(Pair));
  ASSERT_GE(H5Tinsert(from, "value", 0, half.id()), 0);
  ASSERT_GE(H5Tinsert(from, "other", 2, H5T_NATIVE_INT32), 0);
  ASSERT_GE(H5Tinsert(to, "value", offsetof(Pair, value), H5T_NATIVE_FLOAT), 0);
  ASSERT_GE(H5Tinsert(to, "other", offsetof(Pair, other), H5T_NATIVE_INT32), 0);
  std::vector<Pair> pairs(5), background(5);
  char* bytes = reinterpret_cast<char*>(pairs.data());
  for (int i = 0; i < 5; ++i, bytes += 6) {
    const uint16_t value = static_cast<uint16_t>(0x3c00 + (i << 8));  // 1 + i / 4, up to 2
    const int32_t other = 7 - i;
    std::memcpy(bytes, &value, sizeof value);
    std::memcpy(bytes + 2, &other, sizeof other);
  }
  ASSERT_GE(H5Tconvert(from, to, 5, pairs.data(), background.data(), H5P_DEFAULT), 0);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(1 + 0.25f * static_cast<float>(i), pairs[i].value) << i;
    EXPECT_EQ(7 - i, pairs[i].other) << i;
  }
  H5Tclose(from);
  H5Tclose(to);
}

// It is ours that HDF5 takes: its own, as for double, are none of a compiler's or of one's own.
TEST(Hdf5HalfTest, TestIsRegistered) {
  const HalfType half;
  EXPECT_EQ(1, H5Tcompiler_conv(half.id(), H5T_NATIVE_FLOAT));
  EXPECT_EQ(0, H5Tcompiler_conv(half.id(), H5T_NATIVE_DOUBLE));
}

}  // namespace caffe

#endif  // USE_HDF5
