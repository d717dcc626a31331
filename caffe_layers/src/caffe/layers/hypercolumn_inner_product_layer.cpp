#include "caffe/layers/hypercolumn_inner_product_layer.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "caffe/filler.hpp"
#include "caffe/layers/hypercolumn_geometry.hpp"
#include "caffe/util/strided_gemm.hpp"

#ifdef USE_ONEDNN
#include "onednn/bf16x2_gemm.hpp"
#endif

namespace caffe {

namespace {

// With fewer multiplications an image, or fewer outputs of them, splitting the values takes longer
// than it saves.
const double kBf16x2Multiplications = 0x1p28;
const int kBf16x2Outputs = 64;
const int kBf16x2Channels = 256;  // in a factor: each adds to the outputs three times

int MaxThreads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

// Taps of all output rows, or columns, of a level, and the outputs that read each of its cells.
void MakeTaps(int count, int stride, double scale, double offset, int size,
              SyncedArray<BilinearTap>* taps_array, SyncedArray<TapRange>* ranges_array) {
  taps_array->Resize(count);
  ranges_array->Resize(size);
  BilinearTap* taps = taps_array->mutable_cpu_data();
  TapRange* ranges = ranges_array->mutable_cpu_data();
  for (int cell = 0; cell < size; ++cell) {
    ranges[cell] = {count, -1};
  }
  for (int i = 0; i < count; ++i) {
    taps[i] = MakeBilinearTap(i * stride + (stride - 1) / 2.0, scale, offset, size);
    for (int cell = taps[i].low; cell <= taps[i].high; ++cell) {
      ranges[cell].first = std::min(ranges[cell].first, i);
      ranges[cell].last = i;
    }
  }
}

}  // namespace

template <typename Dtype>
vector<Blob<Dtype>*> HypercolumnInnerProductLayer<Dtype>::LevelBottoms(
    const vector<Blob<Dtype>*>& bottom) const {
  return vector<Blob<Dtype>*>(bottom.begin(), bottom.end() - 2 * heads_);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
                                                     const vector<Blob<Dtype>*>&) {
  const HypercolumnInnerProductParameter& param =
      this->layer_param_.hypercolumn_inner_product_param();
  const string& name = this->layer_param_.name();
  CHECK(param.num_output() > 0 && param.num_output() <= INT_MAX)
      << "layer " << name << ": num_output expected a positive number, got " << param.num_output();
  CHECK(param.stride() > 0 && param.stride() <= INT_MAX)
      << "layer " << name << ": stride expected a positive number, got " << param.stride();
  num_output_ = param.num_output();
  stride_ = param.stride();
  heads_ = param.heads();
  channels_ = HypercolumnChannels(MakeHypercolumnLevels(LevelBottoms(bottom), 0, param, name));
  if (this->blobs_.empty()) {
    this->blobs_.emplace_back(new Blob<Dtype>(vector<int>{num_output_, channels_}));
    shared_ptr<Filler<Dtype> > weight_filler(GetFiller<Dtype>(param.weight_filler()));
    weight_filler->Fill(this->blobs_[0].get());
    if (param.bias_term()) {
      this->blobs_.emplace_back(new Blob<Dtype>(vector<int>{num_output_}));
      shared_ptr<Filler<Dtype> > bias_filler(GetFiller<Dtype>(param.bias_filler()));
      bias_filler->Fill(this->blobs_[1].get());
    }
  }
  this->param_propagate_down_.assign(this->blobs_.size(), true);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
                                                  const vector<Blob<Dtype>*>& top) {
  const string& name = this->layer_param_.name();
  levels_ = MakeHypercolumnLevels(LevelBottoms(bottom), 0,
                                  this->layer_param_.hypercolumn_inner_product_param(), name);
  CHECK_EQ(HypercolumnChannels(levels_), channels_)
      << "layer " << name << ": the bottoms' channels expected to sum to " << channels_
      << " as in set-up, got " << HypercolumnChannels(levels_);
  const HypercolumnLevel finest = *std::min_element(
      levels_.begin(), levels_.end(),
      [](const HypercolumnLevel& a, const HypercolumnLevel& b) { return a.scale < b.scale; });
  const double rows = std::ceil(std::round(finest.height * finest.scale) / stride_);
  const double columns = std::ceil(std::round(finest.width * finest.scale) / stride_);
  CheckHeads(bottom);
  for (size_t i = 0; i < top.size(); ++i) {
    const int outputs = heads_ > 0 ? bottom[levels_.size() + 2 * i]->shape(0) : num_output_;
    const double values = rows * columns * bottom[0]->shape(0) * outputs;
    CHECK(values >= 1 && values <= INT_MAX)
        << "layer " << name << ": expected 1 to " << INT_MAX << " output values, got "
        << bottom[0]->shape(0) << " x " << outputs << " x " << rows << " x " << columns;
    height_ = static_cast<int>(rows);
    width_ = static_cast<int>(columns);
    top[i]->Reshape(vector<int>{bottom[0]->shape(0), outputs, height_, width_});
  }

  grids_.resize(levels_.size());
  for (size_t l = 0; l < levels_.size(); ++l) {
    const HypercolumnLevel& level = levels_[l];
    Grid& grid = grids_[l];
    // Every forward pass reshapes; the taps, and their copies on the GPU, are made anew only where
    // something has another size.
    const std::vector<int> sizes = {level.height, level.width, height_, width_};
    if (grid.sizes != sizes) {
      grid.sizes = sizes;
      MakeTaps(height_, stride_, level.scale, level.offset_height, level.height, &grid.rows,
               &grid.row_ranges);
      MakeTaps(width_, stride_, level.scale, level.offset_width, level.width, &grid.columns,
               &grid.column_ranges);
    }
  }
  MakeGroups();
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::ReshapeWorkspace() {
  int workspace = 1;
  for (const HypercolumnLevel& level : levels_) {
    const double size = ProjectsFirst(level) ? double(num_output_) * level.plane()
                                             : double(level.channels) * height_ * width_;
    CHECK_LE(size, INT_MAX) << "layer " << this->layer_param_.name()
                            << ": expected a workspace of at most " << INT_MAX << " values, got "
                            << size;
    workspace = std::max(workspace, static_cast<int>(size));
  }
  workspace_.Reshape(vector<int>{workspace});
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::CheckHeads(const vector<Blob<Dtype>*>& bottom) const {
  for (int i = 0; i < heads_; ++i) {
    const Blob<Dtype>& weight = *bottom[levels_.size() + 2 * i];
    const Blob<Dtype>& bias = *bottom[levels_.size() + 2 * i + 1];
    CHECK(weight.num_axes() == 2 && weight.shape(1) == num_output_)
        << "layer " << this->layer_param_.name() << ": the weight of head " << i
        << " expected shape (K, " << num_output_ << "), got " << weight.shape_string();
    CHECK(bias.num_axes() == 1 && bias.shape(0) == weight.shape(0))
        << "layer " << this->layer_param_.name() << ": the bias of head " << i
        << " expected shape (" << weight.shape(0) << "), got " << bias.shape_string();
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::RefuseGradientOfHeads() const {
  CHECK_EQ(heads_, 0) << "layer " << this->layer_param_.name()
                      << ": a gradient expected heads of 0, got " << heads_
                      << ": train with ReLU and HypercolumnInnerProduct layers instead";
}

template <typename Dtype>
bool HypercolumnInnerProductLayer<Dtype>::IsOutputGrid(size_t level) const {
  const auto identity = [](const BilinearTap* taps, int count, int size) {
    if (count != size) {
      return false;
    }
    for (int i = 0; i < count; ++i) {
      if (taps[i].low != i || taps[i].fraction != 0) {
        return false;
      }
    }
    return true;
  };
  return identity(grids_[level].rows.cpu_data(), height_, levels_[level].height) &&
         identity(grids_[level].columns.cpu_data(), width_, levels_[level].width);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::MakeGroups() {
  groups_.clear();
  for (size_t l = 0; l < levels_.size(); ++l) {
    const HypercolumnLevel& level = levels_[l];
    Grid& grid = grids_[l];
    grid.is_output = IsOutputGrid(l);
    grid.projects_first = !grid.is_output && ProjectsFirst(level);
    if (!grid.projects_first) {
      continue;
    }
    const auto alike = std::find_if(groups_.begin(), groups_.end(), [&](const Group& group) {
      const HypercolumnLevel& other = levels_[group.levels[0]];
      return other.height == level.height && other.width == level.width &&
             other.scale == level.scale && other.offset_height == level.offset_height &&
             other.offset_width == level.offset_width;
    });
    if (alike == groups_.end()) {
      groups_.push_back({{l}, {}});
    } else {
      alike->levels.push_back(l);
    }
  }
}

template <typename Dtype>
bool HypercolumnInnerProductLayer<Dtype>::ProjectsFirst(const HypercolumnLevel& level) const {
  // Multiply-adds of the product and, four for each value, of the interpolation.
  const double in = level.plane(), out = double(height_) * width_;
  const double product = double(num_output_) * level.channels;
  return product * in + 4.0 * num_output_ * out < product * out + 4.0 * level.channels * out;
}

template <typename Dtype>
BilinearGrid HypercolumnInnerProductLayer<Dtype>::GridOnCPU(size_t level) const {
  const Grid& grid = grids_[level];
  return {levels_[level].height,
          levels_[level].width,
          height_,
          width_,
          grid.rows.cpu_data(),
          grid.columns.cpu_data(),
          grid.row_ranges.cpu_data(),
          grid.column_ranges.cpu_data()};
}

// A row of outputs mixes its two rows of cells first, which halves the work of UpsampleValue.
template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Upsample(size_t level, int maps, int first, int rows,
                                                   const Dtype* in, Dtype* out) const {
  const BilinearGrid grid = GridOnCPU(level);
  const int64_t plane = static_cast<int64_t>(grid.height) * grid.width;
  const int64_t outputs = static_cast<int64_t>(maps) * rows;
#pragma omp parallel
  {
    std::vector<Dtype> blended(grid.width);
#pragma omp for schedule(static)
    for (int64_t index = 0; index < outputs; ++index) {
      const BilinearTap& y = grid.rows[first + index % rows];
      const Dtype* map = in + index / rows * plane;
      const Dtype* low = map + static_cast<int64_t>(y.low) * grid.width;
      const Dtype* high = map + static_cast<int64_t>(y.high) * grid.width;
      const Dtype fraction = static_cast<Dtype>(y.fraction);
      for (int i = 0; i < grid.width; ++i) {
        blended[i] = (1 - fraction) * low[i] + fraction * high[i];
      }
      Dtype* row = out + index * width_;
      for (int i = 0; i < width_; ++i) {
        const BilinearTap& x = grid.columns[i];
        const Dtype right = static_cast<Dtype>(x.fraction);
        row[i] = (1 - right) * blended[x.low] + right * blended[x.high];
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::UpsampleAdjoint(size_t level, int maps, const Dtype* out,
                                                          Dtype* in) const {
  const BilinearGrid grid = GridOnCPU(level);
  const int64_t plane = static_cast<int64_t>(grid.height) * grid.width;
#pragma omp parallel
  {
    std::vector<Dtype> blended(grid.width);
#pragma omp for schedule(static)
    for (int m = 0; m < maps; ++m) {  // a thread owns whole maps: no shared writes
      Dtype* map = in + m * plane;
      std::fill(map, map + plane, Dtype(0));
      for (int j = 0; j < height_; ++j) {
        const Dtype* row = out + (static_cast<int64_t>(m) * height_ + j) * width_;
        std::fill(blended.begin(), blended.end(), Dtype(0));
        for (int i = 0; i < width_; ++i) {
          const BilinearTap& x = grid.columns[i];
          const Dtype right = static_cast<Dtype>(x.fraction);
          blended[x.low] += (1 - right) * row[i];
          blended[x.high] += right * row[i];
        }
        const BilinearTap& y = grid.rows[j];
        const Dtype fraction = static_cast<Dtype>(y.fraction);
        Dtype* low = map + static_cast<int64_t>(y.low) * grid.width;
        Dtype* high = map + static_cast<int64_t>(y.high) * grid.width;
        for (int i = 0; i < grid.width; ++i) {
          low[i] += (1 - fraction) * blended[i];
          high[i] += fraction * blended[i];
        }
      }
    }
  }
}

template <typename Dtype>
const Dtype* HypercolumnInnerProductLayer<Dtype>::LevelData(const Blob<Dtype>& features,
                                                            size_t level, int image) const {
  return features.cpu_data() +
         static_cast<size_t>(image) * levels_[level].channels * levels_[level].plane();
}

#ifdef USE_ONEDNN
template <>
void HypercolumnInnerProductLayer<float>::PrepareProducts() {
  const bool exact = this->layer_param_.hypercolumn_inner_product_param().exact();
  double multiplications = 0;  // of one image
  for (size_t l = 0; l < levels_.size(); ++l) {
    const double cells = grids_[l].projects_first ? levels_[l].plane() : double(height_) * width_;
    multiplications += cells * levels_[l].channels * num_output_;
  }
  if (exact || this->phase_ != TEST || num_output_ < kBf16x2Outputs ||
      multiplications < kBf16x2Multiplications || !Bf16x2Gemm::IsFast()) {
    bf16x2_.reset();
    return;
  }
  if (!bf16x2_) {
    bf16x2_ = std::make_shared<Bf16x2Gemm>();
  }
  bf16x2_->SetWeights(this->blobs_[0]->cpu_data(), num_output_, channels_);
}

template <>
void HypercolumnInnerProductLayer<float>::AddBf16x2Products(const std::vector<Factor>& factors,
                                                            int count, float* out) {
  std::vector<Bf16x2Gemm::Factor> converted;
  for (const Factor& factor : factors) {
    converted.push_back({factor.maps, factor.row, factor.first_channel, factor.channels,
                         static_cast<float>(factor.multiplier)});
  }
  bf16x2_->Add(converted, count, out);
}
#endif

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::PrepareProducts() {}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::AddBf16x2Products(const std::vector<Factor>&, int,
                                                            Dtype*) {
  LOG(FATAL) << "layer " << this->layer_param_.name() << ": only float values are split";
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::AddProducts(const std::vector<Factor>& factors, int count,
                                                      Dtype* out) {
  std::vector<Factor> split;
  for (const Factor& factor : factors) {
    if (bf16x2_ && factor.channels >= kBf16x2Channels) {
      split.push_back(factor);
      continue;
    }
    StridedGemm(CblasTrans, CblasTrans, count, num_output_, factor.channels,
                static_cast<Dtype>(factor.multiplier), factor.maps, factor.row,
                this->blobs_[0]->cpu_data() + factor.first_channel, channels_, Dtype(1), out,
                num_output_);
  }
  if (!split.empty()) {
    AddBf16x2Products(split, count, out);
  }
}

// In the band the channels of an output lie side by side, and so they do in the projected levels:
// interpolation then takes all channels of a cell with the same weights.
template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
                                                      const vector<Blob<Dtype>*>& top) {
  PrepareProducts();
  // About 4,096 outputs and a row for each thread: less, and starting threads costs more than it
  // gives.
  const int band_rows = std::min(height_, std::max((4095 + width_) / width_, MaxThreads()));
  band_.resize(static_cast<size_t>(band_rows) * width_ * num_output_);
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    for (Group& group : groups_) {
      const int plane = levels_[group.levels[0]].plane();
      group.projected.assign(static_cast<size_t>(plane) * num_output_, Dtype(0));
      std::vector<Factor> factors;
      for (size_t l : group.levels) {
        const HypercolumnLevel& level = levels_[l];
        factors.push_back({LevelData(*bottom[l], l, n), plane, level.first_channel, level.channels,
                           level.multiplier});
      }
      AddProducts(factors, plane, group.projected.data());
    }
    for (int first = 0; first < height_; first += band_rows) {
      const int rows = std::min(band_rows, height_ - first);
      ForwardBand(bottom, n, first, rows);
      if (heads_ > 0) {
        WriteHeads(bottom, top, n, first, rows);
      } else {
        WriteBand(top, n, first, rows);
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::ForwardBand(const vector<Blob<Dtype>*>& bottom, int image,
                                                      int first, int rows) {
  const Dtype* bias = this->blobs_.size() > 1 ? this->blobs_[1]->cpu_data() : nullptr;
  const int outputs = rows * width_;
  for (int i = 0; i < outputs; ++i) {
    Dtype* out = &band_[static_cast<size_t>(i) * num_output_];
    for (int o = 0; o < num_output_; ++o) {
      out[o] = bias ? bias[o] : Dtype(0);
    }
  }
  const auto is_sampled = [this](size_t l) {
    return !grids_[l].is_output && !grids_[l].projects_first;
  };
  size_t channels = 0;
  for (size_t l = 0; l < levels_.size(); ++l) {
    channels += is_sampled(l) ? levels_[l].channels : 0;
  }
  sampled_.resize(channels * outputs);
  Dtype* sampled = sampled_.data();
  std::vector<Factor> factors;
  for (size_t l = 0; l < levels_.size(); ++l) {
    const HypercolumnLevel& level = levels_[l];
    const Dtype* maps = LevelData(*bottom[l], l, image);
    if (grids_[l].is_output) {
      factors.push_back({maps + static_cast<int64_t>(first) * width_, level.plane(),
                         level.first_channel, level.channels, level.multiplier});
    } else if (is_sampled(l)) {
      Upsample(l, level.channels, first, rows, maps, sampled);
      if (l > 0 && is_sampled(l - 1) && levels_[l - 1].multiplier == level.multiplier) {
        // One product in the place of two with few channels each.
        factors.back().channels += level.channels;
      } else {
        factors.push_back(
            {sampled, outputs, level.first_channel, level.channels, level.multiplier});
      }
      sampled += static_cast<int64_t>(level.channels) * outputs;
    }
  }
  AddProducts(factors, outputs, band_.data());
  FinishRows(first, rows);
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::FinishRows(int first, int rows) {
#pragma omp parallel for schedule(static)
  for (int j = 0; j < rows; ++j) {
    std::vector<Dtype> blended;
    for (const Group& group : groups_) {
      const BilinearGrid grid = GridOnCPU(group.levels[0]);
      const int64_t line = static_cast<int64_t>(grid.width) * num_output_;
      const BilinearTap& y = grid.rows[first + j];
      const Dtype* low = group.projected.data() + y.low * line;
      const Dtype* high = group.projected.data() + y.high * line;
      const Dtype below = static_cast<Dtype>(y.fraction), above = 1 - below;
      blended.resize(line);
      for (int64_t i = 0; i < line; ++i) {
        blended[i] = above * low[i] + below * high[i];
      }
      Dtype* out = &band_[static_cast<size_t>(j) * width_ * num_output_];
      for (int i = 0; i < width_; ++i, out += num_output_) {
        const BilinearTap& x = grid.columns[i];
        const Dtype right = static_cast<Dtype>(x.fraction), left = 1 - right;
        const Dtype* a = blended.data() + static_cast<int64_t>(x.low) * num_output_;
        const Dtype* b = blended.data() + static_cast<int64_t>(x.high) * num_output_;
        for (int o = 0; o < num_output_; ++o) {
          out[o] += left * a[o] + right * b[o];
        }
      }
    }
    if (heads_ > 0) {  // ReLU, while the row is in the cache
      Dtype* out = &band_[static_cast<size_t>(j) * width_ * num_output_];
      for (int64_t i = 0; i < static_cast<int64_t>(width_) * num_output_; ++i) {
        out[i] = std::max(out[i], Dtype(0));
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::WriteBand(const vector<Blob<Dtype>*>& top, int image,
                                                    int first, int rows) const {
  const int outputs = rows * width_, lanes = 16;
  const int64_t plane = static_cast<int64_t>(height_) * width_;
  Dtype* out = top[0]->mutable_cpu_data() + image * num_output_ * plane +
               static_cast<int64_t>(first) * width_;
#pragma omp parallel for schedule(static)
  for (int begin = 0; begin < num_output_; begin += lanes) {
    const int end = std::min(begin + lanes, num_output_);
    for (int i = 0; i < outputs; ++i) {
      const Dtype* value = &band_[static_cast<size_t>(i) * num_output_];
      for (int o = begin; o < end; ++o) {
        out[o * plane + i] = value[o];
      }
    }
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::WriteHeads(const vector<Blob<Dtype>*>& bottom,
                                                     const vector<Blob<Dtype>*>& top, int image,
                                                     int first, int rows) {
  const int outputs = rows * width_, plane = height_ * width_;
  for (int h = 0; h < heads_; ++h) {
    const Dtype* weight = bottom[levels_.size() + 2 * h]->cpu_data();
    const Dtype* bias = bottom[levels_.size() + 2 * h + 1]->cpu_data();
    const int count = top[h]->shape(1);
    Dtype* out = top[h]->mutable_cpu_data() + static_cast<int64_t>(image) * count * plane +
                 static_cast<int64_t>(first) * width_;
    for (int k = 0; k < count; ++k) {
      std::fill_n(out + static_cast<int64_t>(k) * plane, outputs, bias[k]);
    }
    StridedGemm(CblasNoTrans, CblasTrans, count, outputs, num_output_, Dtype(1), weight,
                num_output_, band_.data(), num_output_, Dtype(1), out, plane);
  }
}

template <typename Dtype>
void HypercolumnInnerProductLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
                                                       const vector<bool>& propagate_down,
                                                       const vector<Blob<Dtype>*>& bottom) {
  RefuseGradientOfHeads();
  ReshapeWorkspace();
  const int outputs = height_ * width_;
  const Dtype* weight = this->blobs_[0]->cpu_data();
  const bool to_weight = this->param_propagate_down_[0];
  Dtype* workspace = workspace_.mutable_cpu_data();
  for (int n = 0; n < bottom[0]->shape(0); ++n) {
    const Dtype* out = top[0]->cpu_diff() + static_cast<size_t>(n) * num_output_ * outputs;
    if (this->blobs_.size() > 1 && this->param_propagate_down_[1]) {
      Dtype* bias_diff = this->blobs_[1]->mutable_cpu_diff();
      for (int o = 0; o < num_output_; ++o) {
        const Dtype* row = out + static_cast<size_t>(o) * outputs;
        Dtype sum = 0;
        for (int i = 0; i < outputs; ++i) {
          sum += row[i];
        }
        bias_diff[o] += sum;
      }
    }
    for (size_t l = 0; l < levels_.size(); ++l) {
      const bool to_bottom = Propagates(propagate_down, l);
      if (!to_weight && !to_bottom) {
        continue;
      }
      const HypercolumnLevel& level = levels_[l];
      const int plane = level.plane();
      const Dtype alpha = static_cast<Dtype>(level.multiplier);
      const size_t image = static_cast<size_t>(n) * level.channels * plane;
      const Dtype* features = bottom[l]->cpu_data() + image;
      if (ProjectsFirst(level)) {
        UpsampleAdjoint(l, num_output_, out, workspace);
        if (to_weight) {
          StridedGemm(CblasNoTrans, CblasTrans, num_output_, level.channels, plane, alpha,
                      workspace, plane, features, plane, Dtype(1),
                      this->blobs_[0]->mutable_cpu_diff() + level.first_channel, channels_);
        }
        if (to_bottom) {
          StridedGemm(CblasTrans, CblasNoTrans, level.channels, plane, num_output_, alpha,
                      weight + level.first_channel, channels_, workspace, plane, Dtype(0),
                      bottom[l]->mutable_cpu_diff() + image, plane);
        }
      } else {
        if (to_weight) {
          Upsample(l, level.channels, 0, height_, features, workspace);
          StridedGemm(CblasNoTrans, CblasTrans, num_output_, level.channels, outputs, alpha, out,
                      outputs, workspace, outputs, Dtype(1),
                      this->blobs_[0]->mutable_cpu_diff() + level.first_channel, channels_);
        }
        if (to_bottom) {
          StridedGemm(CblasTrans, CblasNoTrans, level.channels, outputs, num_output_, alpha,
                      weight + level.first_channel, channels_, out, outputs, Dtype(0), workspace,
                      outputs);
          UpsampleAdjoint(l, level.channels, workspace, bottom[l]->mutable_cpu_diff() + image);
        }
      }
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(HypercolumnInnerProductLayer);
#endif

INSTANTIATE_CLASS(HypercolumnInnerProductLayer);
REGISTER_LAYER_CLASS(HypercolumnInnerProduct);

}  // namespace caffe
