#ifndef CAFFE_LAYERS_LOCATION_ROWS_HPP_
#define CAFFE_LAYERS_LOCATION_ROWS_HPP_

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/util/locations.hpp"
#include "caffe/util/synced_array.hpp"

namespace caffe {

/**
 * @brief The locations of a layer, in either form.
 *
 *  - @f$ (N \times P \times 2) @f$: (y, x), the same number P in each image
 *  - @f$ (M \times 3) @f$: (image, y, x), any number in each image and in any order
 */
template <typename Dtype>
class LocationRows {
 public:
  /// Checks the shape. `images` is the batch size of `batch`, as "features".
  void Reshape(const Blob<Dtype>& locations, int images, const char* batch,
               const std::string& layer) {
    const bool of_images = locations.num_axes() == 3 && locations.shape(2) == 2;
    CHECK(of_images || (locations.num_axes() == 2 && locations.shape(1) == 3))
        << "layer " << layer << ": locations expected shape (N, P, 2) or (M, 3), got "
        << locations.shape_string();
    CHECK_GT(locations.count(), 0)
        << "layer " << layer << ": locations expected at least one row, got "
        << locations.shape_string();
    CHECK(!of_images || locations.shape(0) == images)
        << "layer " << layer << ": " << batch << " expected the batch size of the locations "
        << locations.shape(0) << ", got " << images;
    images_ = images;
    columns_ = of_images ? 2 : 3;
    count_ = locations.count() / columns_;
    per_image_ = (count_ + images - 1) / images;
  }

  /// Reads the images of rows (image, y, x): on the host, also for the GPU, since a wrong one has
  /// to end the run and they are few.
  void Read(const Blob<Dtype>& locations, const std::string& layer) {
    if (columns_ == 2) {
      return;
    }
    const Dtype* rows = locations.cpu_data();
    image_.Resize(count_);
    order_.Resize(count_);
    first_.Resize(images_ + 1);
    int *image = image_.mutable_cpu_data(), *order = order_.mutable_cpu_data();
    std::vector<int> begin(images_ + 1, 0);
    for (int row = 0; row < count_; ++row) {
      const Dtype number = rows[3 * static_cast<size_t>(row)];
      CHECK(number >= 0 && number < images_ && number == std::floor(number))
          << "layer " << layer << ": row " << row
          << " of the locations expected an image from 0 to " << images_ - 1
          << ", a whole number, got " << number;
      image[row] = static_cast<int>(number);
      ++begin[image[row] + 1];
    }
    for (int n = 0; n < images_; ++n) {
      begin[n + 1] += begin[n];
    }
    std::copy(begin.begin(), begin.end(), first_.mutable_cpu_data());
    for (int row = 0; row < count_; ++row) {
      order[begin[image[row]]++] = row;
    }
  }

  int count() const { return count_; }      ///< N * P, or M
  int columns() const { return columns_; }  ///< of a row

  template <typename Device>
  ImageRows Rows() const {
    if (columns_ == 2) {
      return {per_image_, nullptr, nullptr, nullptr};
    }
    return {per_image_, Device::Data(image_), Device::Data(first_), Device::Data(order_)};
  }

 private:
  int images_ = 0;
  int count_ = 0;
  int columns_ = 0;
  int per_image_ = 0;
  SyncedArray<int> image_, first_, order_;  // as in ImageRows, of rows (image, y, x)
};

}  // namespace caffe

#endif  // CAFFE_LAYERS_LOCATION_ROWS_HPP_
