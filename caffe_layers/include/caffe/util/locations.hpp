#ifndef CAFFE_UTIL_LOCATIONS_HPP_
#define CAFFE_UTIL_LOCATIONS_HPP_

#include <cstdint>

#include "caffe/util/host_device.hpp"

namespace caffe {

/// Rows (y, x), or (image, y, x), in pixels of the input image.
template <typename Dtype>
struct Locations {
  const Dtype* values;
  int columns;  ///< of a row: 2 or 3

  AUTOCOLOR_HOST_DEVICE Dtype y(int64_t row) const { return values[columns * (row + 1) - 2]; }
  AUTOCOLOR_HOST_DEVICE Dtype x(int64_t row) const { return values[columns * (row + 1) - 1]; }
};

/// Which rows belong to which image. Sorted by image, the rows of one are those at the places
/// [begin(image), end(image)). The pointers are null where each image has `per_image` rows, one
/// image after the other.
struct ImageRows {
  int per_image;      ///< on the average, rounded up, where the numbers differ
  const int* images;  ///< image of each row
  const int* first;   ///< first place of each image, and the number of rows
  const int* order;   ///< row at each place

  AUTOCOLOR_HOST_DEVICE int64_t image(int64_t row) const {
    return images ? images[row] : row / per_image;
  }
  AUTOCOLOR_HOST_DEVICE int64_t begin(int64_t image) const {
    return first ? first[image] : image * per_image;
  }
  AUTOCOLOR_HOST_DEVICE int64_t end(int64_t image) const { return begin(image + 1); }
  AUTOCOLOR_HOST_DEVICE int64_t row(int64_t place) const { return order ? order[place] : place; }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_LOCATIONS_HPP_
