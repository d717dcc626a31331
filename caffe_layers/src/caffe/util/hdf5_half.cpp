#ifdef USE_HDF5
#include <hdf5.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace caffe {
namespace {

/// The float of an IEEE 754 half, exactly; of what is not a number, one that is none.
inline float HalfToFloat(uint16_t half) {
  uint32_t bits = (half & 0x7fffu) << 13u;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  value *= 0x1p112f;  // exponents have a bias of 127 instead of 15; makes normal what was not
  std::memcpy(&bits, &value, sizeof bits);
  bits |= ((half & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u) | (half & 0x8000u) << 16u;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// HDF5's conversion callback, for `count` halves in place: floats are packed where `stride` is 0,
/// and begin at multiples of `stride` bytes otherwise.
herr_t ConvertHalves(hid_t, hid_t, H5T_cdata_t* data, size_t count, size_t stride, size_t,
                     void* buffer, void*, hid_t) {
  if (data->command == H5T_CONV_INIT) {
    data->need_bkg = H5T_BKG_NO;
  }
  if (data->command != H5T_CONV_CONV) {
    return 0;
  }
  char* bytes = static_cast<char*>(buffer);
  if (stride != 0) {
    for (size_t i = 0; i < count; ++i, bytes += stride) {
      uint16_t half;
      std::memcpy(&half, bytes, sizeof half);
      const float value = HalfToFloat(half);
      std::memcpy(bytes, &value, sizeof value);
    }
    return 0;
  }
  constexpr size_t kBlock = 256;
  uint16_t halves[kBlock];
  float values[kBlock];
  // From the last block to the first: floats are wider, so that those of a block lie where halves
  // of it and of later ones were.
  for (size_t end = count; end > 0;) {
    const size_t begin = (end - 1) / kBlock * kBlock, size = end - begin;
    std::memcpy(halves, bytes + begin * sizeof *halves, size * sizeof *halves);
    std::transform(halves, halves + size, values, HalfToFloat);
    std::memcpy(bytes + begin * sizeof *values, values, size * sizeof *values);
    end = begin;
  }
  return 0;
}

/// HDF5's own conversion goes bit by bit, and took more of a head's training on hypercolumns in
/// half precision than the training itself. HDF5 asks those that are registered first.
bool RegisterConversion() noexcept {
  const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
  const bool made =
      H5Tset_fields(half, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(half, 2) >= 0 &&
      H5Tset_ebias(half, 15) >= 0 &&
      H5Tregister(H5T_PERS_HARD, "half to float", half, H5T_NATIVE_FLOAT, ConvertHalves) >= 0;
  H5Tclose(half);
  return made;  // otherwise HDF5's own is used
}

const bool registered = RegisterConversion();

}  // namespace
}  // namespace caffe

#endif  // USE_HDF5
