#include "caffe/layers/sparse_hypercolumn_layer.hpp"

#include <algorithm>
#include <climits>
#include <vector>

#include "caffe/layers/hypercolumn_geometry.hpp"
#include "caffe/util/hypercolumn_cpu.hpp"
#include "caffe/util/parallel_for.hpp"

namespace caffe {

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                            const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  CHECK_EQ(this->layer_param_.sparse_hypercolumn_param().first_channel(), 0U)
      << "layer " << name << ": first_channel expected type HypercolumnTap, got SparseHypercolumn";
  levels_ = MakeHypercolumnLevels(bottom, 1, this->layer_param_.sparse_hypercolumn_param(), name);
  for (HypercolumnLevel& level : levels_) {
    level.nearest = this->layer_param_.sparse_hypercolumn_param().nearest();
  }
  channels_ = HypercolumnChannels(levels_);
  images_ = bottom[1]->shape(0);
  rows_.Reshape(*bottom[0], images_, "features", name);
  CHECK_LE(static_cast<double>(rows_.count()) * channels_, INT_MAX)
      << "layer " << name << ": expected at most " << INT_MAX << " values, got hypercolumns of "
      << rows_.count() << " x " << channels_;
  top[0]->Reshape(vector<int>{rows_.count(), channels_});
  cells_.Resize(levels_.size() * rows_.count());
}

template <typename Dtype>
HypercolumnIndexing<Dtype> SparseHypercolumnLayer<Dtype>::Indexing(
    size_t level, const ImageRows& rows, const BilinearCell<Dtype>* cells) const {
  return {levels_[level], rows, channels_, cells + level * rows_.count()};
}

template <typename Dtype>
HypercolumnBlock<Dtype> SparseHypercolumnLayer<Dtype>::SortedBlock(size_t level) const {
  ImageRows rows = rows_.template Rows<OnCPU>();
  rows.order = order_.data();
  return {Indexing(level, rows, cells_.cpu_data()),
          HypercolumnBlockSize(levels_[level].plane(), rows.per_image)};
}

// Sorts the rows of each image by the cell of the first level, so that neighbouring locations
// follow each other.
template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::SortLocations(const Locations<Dtype>& locations) {
  const int count = rows_.count();
  BilinearCell<Dtype>* cells = cells_.mutable_cpu_data();
  const LocateCells<Dtype> locate = {levels_[0], locations, cells};
  const ImageRows rows = rows_.template Rows<OnCPU>();
  order_.resize(count);
  for (int i = 0; i < count; ++i) {
    locate(i);
    order_[i] = static_cast<int>(rows.row(i));
  }
  for (int image = 0; image < images_; ++image) {
    std::sort(order_.begin() + rows.begin(image), order_.begin() + rows.end(image),
              [cells](int a, int b) {
                const auto left = cells[a].offset[0], right = cells[b].offset[0];
                return left != right ? left < right : a < b;
              });
  }
  sorted_locations_.resize(2 * static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    sorted_locations_[2 * i] = locations.y(order_[i]);
    sorted_locations_[2 * i + 1] = locations.x(order_[i]);
  }
}

template <typename Dtype>
void SparseHypercolumnLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                const vector<Blob<Dtype>*>& top) {
  rows_.Read(*bottom[0], this->layer_param_.name());
  SortLocations({bottom[0]->cpu_data(), rows_.columns()});
  const int rows = rows_.count();
  BilinearCell<Dtype>* cells = cells_.mutable_cpu_data();
  std::vector<GatherOnCPU<Dtype> > kernels;
  std::vector<int64_t> counts;
  for (size_t l = 0; l < levels_.size(); ++l) {
    const LocateCells<Dtype> locate = {levels_[l], {sorted_locations_.data(), 2}, cells + l * rows};
    for (int row = 0; row < rows; ++row) {
      locate(row);
    }
    const HypercolumnBlock<Dtype> block = SortedBlock(l);
    kernels.push_back({block, bottom[l + 1]->cpu_data(), top[0]->mutable_cpu_data(), {}, {}});
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
    const HypercolumnBlock<Dtype> block = SortedBlock(l);
    kernels.push_back(
        {block, top[0]->cpu_diff(), bottom[l + 1]->mutable_cpu_diff(), accumulates_, {}, {}});
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
