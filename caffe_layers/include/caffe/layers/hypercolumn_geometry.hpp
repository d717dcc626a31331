#ifndef CAFFE_LAYERS_HYPERCOLUMN_GEOMETRY_HPP_
#define CAFFE_LAYERS_HYPERCOLUMN_GEOMETRY_HPP_

#include <cmath>
#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/util/hypercolumn.hpp"

namespace caffe {

/// Value of level `index` of a repeated parameter that has 0, 1 or `levels` values.
inline double LevelParameter(const google::protobuf::RepeatedField<float>& values,
                             double default_value, int index, int levels, const char* field,
                             const std::string& layer) {
  CHECK(values.size() == 0 || values.size() == 1 || values.size() == levels)
      << "layer " << layer << ": " << field << " expected 0, 1 or " << levels
      << " values (one per feature bottom), got " << values.size();
  if (values.size() == 0) {
    return default_value;
  }
  const double value = values.Get(values.size() == 1 ? 0 : index);
  CHECK(std::isfinite(value)) << "layer " << layer << ": " << field
                              << " expected a finite number, got " << value;
  return value;
}

/**
 * @brief Levels of the hypercolumn over `bottom[first]` … `bottom.back()`.
 *
 * `Parameter` has the repeated fields scale, offset_height, offset_width and activation_mult.
 */
template <typename Dtype, typename Parameter>
std::vector<HypercolumnLevel> MakeHypercolumnLevels(const std::vector<Blob<Dtype>*>& bottom,
                                                    int first, const Parameter& parameter,
                                                    const std::string& layer) {
  const int count = static_cast<int>(bottom.size()) - first;
  std::vector<HypercolumnLevel> levels;
  int channel = 0;
  for (int i = 0; i < count; ++i) {
    const Blob<Dtype>& features = *bottom[first + i];
    CHECK_EQ(features.num_axes(), 4)
        << "layer " << layer << ": feature bottom " << first + i
        << " expected a (N, C, H, W) blob, got " << features.shape_string();
    CHECK_GT(features.count(), 0) << "layer " << layer << ": feature bottom " << first + i
                                  << " expected a blob that is not empty, got "
                                  << features.shape_string();
    CHECK_EQ(features.shape(0), bottom[first]->shape(0))
        << "layer " << layer << ": feature bottom " << first + i << " expected the batch size "
        << bottom[first]->shape(0) << " of the first feature bottom, got " << features.shape(0);
    HypercolumnLevel level;
    level.channels = features.shape(1);
    level.height = features.shape(2);
    level.width = features.shape(3);
    level.scale = LevelParameter(parameter.scale(), 1, i, count, "scale", layer);
    CHECK_GT(level.scale, 0) << "layer " << layer << ": scale expected a positive number, got "
                             << level.scale;
    level.offset_height =
        LevelParameter(parameter.offset_height(), 0, i, count, "offset_height", layer);
    level.offset_width =
        LevelParameter(parameter.offset_width(), 0, i, count, "offset_width", layer);
    level.multiplier =
        LevelParameter(parameter.activation_mult(), 1, i, count, "activation_mult", layer);
    level.first_channel = channel;
    level.nearest = false;
    channel += level.channels;
    levels.push_back(level);
  }
  return levels;
}

/// Sum of the levels' channels.
inline int HypercolumnChannels(const std::vector<HypercolumnLevel>& levels) {
  return levels.back().first_channel + levels.back().channels;
}

}  // namespace caffe

#endif  // CAFFE_LAYERS_HYPERCOLUMN_GEOMETRY_HPP_
