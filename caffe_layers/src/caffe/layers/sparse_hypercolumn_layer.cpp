#include "caffe/layers/sparse_hypercolumn_layer.hpp"

#include <algorithm>
#include <climits>
#include <vector>

#include "caffe/layers/hypercolumn_geometry.hpp"
#include "caffe/util/hypercolumn_cpu.hpp"
#include "caffe/util/parallel_for.hpp"

namespace caffe {

namespace {

// What a thread takes at a time: channels of one image.
template <typename Dtype>
HypercolumnBlock<Dtype> MakeBlock(const HypercolumnIndexing<Dtype>& at) {
  return {at, HypercolumnBlockSize(at.level.plane(), at.locations_per_image)};
}

}  // namespace

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::ReshapeLocations(const Blob<Dtype>& locations) {
  CHECK(locations.num_axes() == 3 && locations.shape(2) == 2)
      << "layer " << this->layer_param_.name() << ": locations expected shape (N, P, 2), got "
      << locations.shape_string();
  images_ = locations.shape(0);
  locations_ = locations.shape(1);
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                            const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  CHECK_EQ(this->layer_param_.sparse_hypercolumn_param().first_channel(), 0U)
      << "layer " << name << ": first_channel expected type HypercolumnTap, got SparseHypercolumn";
  ReshapeLocations(*bottom[0]);
  levels_ = MakeHypercolumnLevels(bottom, 1, this->layer_param_.sparse_hypercolumn_param(), name);
  for (HypercolumnLevel& level : levels_) {
    level.nearest = this->layer_param_.sparse_hypercolumn_param().nearest();
  }
  channels_ = HypercolumnChannels(levels_);
  CHECK_EQ(bottom[1]->shape(0), images_)
      << "layer " << name << ": features expected the batch size of the locations " << images_
      << ", got " << bottom[1]->shape(0);
  CHECK_LE(static_cast<double>(images_) * locations_ * channels_, INT_MAX)
      << "layer " << name << ": expected at most " << INT_MAX << " values, got hypercolumns of "
      << images_ << " x " << locations_ << " x " << channels_;
  top[0]->Reshape(vector<int>{images_ * locations_, channels_});
  cells_.Resize(levels_.size() * images_ * locations_);
}

template <typename Dtype>
HypercolumnIndexing<Dtype> SparseHypercolumnLayer<Dtype>::Indexing(
    size_t level, const BilinearCell<Dtype>* cells) const {
  return {levels_[level], locations_, channels_, cells + level * images_ * locations_};
}

// Sorts the rows of each image by the cell of the first level, so that neighbouring locations
// follow each other.
template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::SortLocations(const Dtype* locations) {
  const int rows = images_ * locations_;
  BilinearCell<Dtype>* cells = cells_.mutable_cpu_data();
  const LocateCells<Dtype> locate = {levels_[0], locations, cells};
  order_.resize(rows);
  for (int row = 0; row < rows; ++row) {
    locate(row);
    order_[row] = row;
  }
  for (int image = 0; image < images_; ++image) {
    const auto first = order_.begin() + image * locations_;
    std::sort(first, first + locations_, [cells](int a, int b) {
      const auto left = cells[a].offset[0], right = cells[b].offset[0];
      return left != right ? left < right : a < b;
    });
  }
  sorted_locations_.resize(2 * static_cast<size_t>(rows));
  for (int i = 0; i < rows; ++i) {
    sorted_locations_[2 * i] = locations[2 * order_[i]];
    sorted_locations_[2 * i + 1] = locations[2 * order_[i] + 1];
  }
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                const vector<Blob<Dtype>*>& top) {
  SortLocations(bottom[0]->cpu_data());
  const int rows = images_ * locations_;
  BilinearCell<Dtype>* cells = cells_.mutable_cpu_data();
  std::vector<GatherOnCPU<Dtype> > kernels;
  std::vector<int64_t> counts;
  for (size_t l = 0; l < levels_.size(); ++l) {
    const LocateCells<Dtype> locate = {levels_[l], sorted_locations_.data(), cells + l * rows};
    for (int row = 0; row < rows; ++row) {
      locate(row);
    }
    const HypercolumnBlock<Dtype> block = MakeBlock(Indexing(l, cells));
    kernels.push_back(
        {block, order_.data(), bottom[l + 1]->cpu_data(), top[0]->mutable_cpu_data(), {}, {}});
    counts.push_back(static_cast<int64_t>(images_) * block.blocks());
  }
  ParallelForEach(kernels, counts);
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                                 const vector<bool>& propagate_down,
                                                 const vector<Blob<Dtype>*>& bottom) {
  RejectLocationGradient(propagate_down, 0);
  std::vector<ScatterOnCPU<Dtype> > kernels;
  std::vector<int64_t> counts;
  for (size_t l = 0; l < levels_.size(); ++l) {
    if (!Propagates(propagate_down, l + 1)) {
      continue;
    }
    const HypercolumnBlock<Dtype> block = MakeBlock(Indexing(l, cells_.cpu_data()));
    kernels.push_back({block,
                       order_.data(),
                       top[0]->cpu_diff(),
                       bottom[l + 1]->mutable_cpu_diff(),
                       accumulates_,
                       {},
                       {}});
    counts.push_back(static_cast<int64_t>(images_) * block.blocks());
  }
  ParallelForEach(kernels, counts);
}

#ifdef CPU_ONLY
STUB_GPU(SparseHypercolumnLayer);
#endif

INSTANTIATE_CLASS(SparseHypercolumnLayer);
REGISTER_LAYER_CLASS(SparseHypercolumn);

}  // namespace caffe
