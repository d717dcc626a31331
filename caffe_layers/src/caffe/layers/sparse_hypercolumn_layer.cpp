#include "caffe/layers/sparse_hypercolumn_layer.hpp"

#include <algorithm>
#include <climits>
#include <vector>

#include "caffe/layers/hypercolumn_geometry.hpp"

namespace caffe {

namespace {

// Sixteen floats are one cache line of a row of the hypercolumn.
const int kChannelsPerTask = 16;

}  // namespace

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                            const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  CHECK(bottom[0]->num_axes() == 3 && bottom[0]->shape(2) == 2)
      << "layer " << name << ": locations expected shape (N, P, 2), got "
      << bottom[0]->shape_string();
  levels_ = MakeHypercolumnLevels(bottom, 1, this->layer_param_.sparse_hypercolumn_param(), name);
  images_ = bottom[0]->shape(0);
  locations_ = bottom[0]->shape(1);
  channels_ = HypercolumnChannels(levels_);
  CHECK_EQ(bottom[1]->shape(0), images_)
      << "layer " << name << ": features expected the batch size of the locations " << images_
      << ", got " << bottom[1]->shape(0);
  CHECK_LE(static_cast<double>(images_) * locations_ * channels_, INT_MAX)
      << "layer " << name << ": hypercolumns of " << images_ << " x " << locations_ << " x "
      << channels_ << " values, expected at most " << INT_MAX;
  top[0]->Reshape(vector<int>{images_ * locations_, channels_});

  tasks_.clear();
  for (int image = 0; image < images_; ++image) {
    for (size_t l = 0; l < levels_.size(); ++l) {
      for (int c = 0; c < levels_[l].channels; c += kChannelsPerTask) {
        tasks_.push_back({image, static_cast<int>(l), c,
                          std::min(kChannelsPerTask, levels_[l].channels - c)});
      }
    }
  }
  cells_.resize(static_cast<size_t>(images_) * levels_.size() * locations_);
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::ComputeCells(const Dtype* locations) {
  const int levels = static_cast<int>(levels_.size());
  for (int n = 0; n < images_; ++n) {
    for (int l = 0; l < levels; ++l) {
      for (int p = 0; p < locations_; ++p) {
        const Dtype* location = locations + 2 * (n * locations_ + p);
        cells_[(static_cast<size_t>(n) * levels + l) * locations_ + p] =
            levels_[l].template CellAt<Dtype>(location[0], location[1]);
      }
    }
  }
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                const vector<Blob<Dtype>*>& top) {
  ComputeCells(bottom[0]->cpu_data());
  vector<const Dtype*> features;
  for (size_t l = 0; l < levels_.size(); ++l) {
    features.push_back(bottom[l + 1]->cpu_data());
  }
  Dtype* hypercolumns = top[0]->mutable_cpu_data();
  const int tasks = static_cast<int>(tasks_.size());
#pragma omp parallel for schedule(dynamic, 4)
  for (int t = 0; t < tasks; ++t) {
    const Task& task = tasks_[t];
    const HypercolumnLevel& level = levels_[task.level];
    const Dtype multiplier = static_cast<Dtype>(level.multiplier);
    const size_t plane = level.plane();
    const Dtype* maps = features[task.level] +
                        (static_cast<size_t>(task.image) * level.channels + task.channel) * plane;
    const BilinearCell<Dtype>* cells =
        &cells_[(static_cast<size_t>(task.image) * levels_.size() + task.level) * locations_];
    Dtype* out = hypercolumns + static_cast<size_t>(task.image) * locations_ * channels_ +
                 level.first_channel + task.channel;
    for (int p = 0; p < locations_; ++p) {
      for (int c = 0; c < task.channels; ++c) {
        out[static_cast<size_t>(p) * channels_ + c] =
            multiplier * Gather(cells[p], maps + c * plane);
      }
    }
  }
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                                 const vector<bool>& propagate_down,
                                                 const vector<Blob<Dtype>*>& bottom) {
  CHECK(!propagate_down[0]) << "layer " << this->layer_param_.name()
                            << ": no gradient to locations (bottom 0) is defined; "
                            << "expected propagate_down false for it";
  // The gradients are taken at the locations of the forward pass, whose cells are still there.
  vector<Dtype*> features(levels_.size(), nullptr);
  for (size_t l = 0; l < levels_.size(); ++l) {
    if (propagate_down[l + 1]) {
      features[l] = bottom[l + 1]->mutable_cpu_diff();
    }
  }
  const Dtype* hypercolumns = top[0]->cpu_diff();
  const int tasks = static_cast<int>(tasks_.size());
#pragma omp parallel for schedule(dynamic, 4)
  for (int t = 0; t < tasks; ++t) {
    const Task& task = tasks_[t];
    if (features[task.level] == nullptr) {
      continue;
    }
    const HypercolumnLevel& level = levels_[task.level];
    const Dtype multiplier = static_cast<Dtype>(level.multiplier);
    const size_t plane = level.plane();
    Dtype* maps = features[task.level] +
                  (static_cast<size_t>(task.image) * level.channels + task.channel) * plane;
    const BilinearCell<Dtype>* cells =
        &cells_[(static_cast<size_t>(task.image) * levels_.size() + task.level) * locations_];
    const Dtype* in = hypercolumns + static_cast<size_t>(task.image) * locations_ * channels_ +
                      level.first_channel + task.channel;
    std::fill(maps, maps + task.channels * plane, Dtype(0));
    for (int p = 0; p < locations_; ++p) {
      for (int c = 0; c < task.channels; ++c) {
        Scatter(cells[p], multiplier * in[static_cast<size_t>(p) * channels_ + c],
                maps + c * plane, PlainAdd());
      }
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(SparseHypercolumnLayer);
#endif

INSTANTIATE_CLASS(SparseHypercolumnLayer);
REGISTER_LAYER_CLASS(SparseHypercolumn);

}  // namespace caffe
