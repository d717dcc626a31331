#ifndef CAFFE_ONEDNN_WINOGRAD_KERNELS_HPP_
#define CAFFE_ONEDNN_WINOGRAD_KERNELS_HPP_

#include <cstdint>

namespace caffe {

/// Outputs a side of a tile, and inputs: F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for
/// Convolutional Neural Networks" (CVPR 2016).
const int kTileOutputs = 4;
const int kTileInputs = 6;
/// Positions of a transformed tile, each of which is a matrix product of its own.
const int kTilePositions = kTileInputs * kTileInputs;
/// Tiles of a row that are transformed at once; their pixels fit the first-level cache.
const int kRowTiles = 16;
/// Values that the strip of pixels of so many tiles takes at most, for vectors of 16 channels.
const int kStripValues = kTileInputs * (kTileOutputs * kRowTiles + 2) * 16;

/// Input channels that are multiplied at once: their weights for two vectors of outputs stay in the
/// first-level cache.
const int kChannelsAtOnce = 256;

/// Some channels of a map (at most as many as a vector holds) and a row of tiles on it. `top` and
/// `left` are where the first tile begins, which may be outside of the map.
struct TileRow {
  int64_t plane;  // from a channel to the next
  int channels, height, width, top, left, tiles;
};

/// One side of a transformed product: values (positions x blocks of channels x rows x width of a
/// vector), of which `position` and `block` are the distances.
struct Layout {
  int64_t position, block;
};

/**
 * @brief The inner loops of WinogradConvolution for one set of instructions.
 *
 * Channels go in blocks of `width`, as many as a vector register holds: all transforms work on a
 * block of channels at once. Arrays but for maps and weights are aligned to 64 bytes.
 */
struct WinogradKernels {
  int width;  // W
  const char* name;

  /// B^T d B of the 6 x 6 inputs of each tile, zero outside of the map: out (positions x tiles x
  /// W).
  void (*transform_inputs)(const TileRow& row, const float* maps, float* strip, float* out,
                           int64_t out_position);
  /// A y A^T of the 4 x 4 gradients of each tile, zero outside of the map.
  void (*transform_gradients)(const TileRow& row, const float* maps, float* strip, float* out,
                              int64_t out_position);
  /// A^T m A, plus a bias for each channel (W values), rectified if asked for; what lies outside of
  /// the map is left out.
  void (*transform_outputs)(const TileRow& row, const float* in, int64_t in_position,
                            const float* bias, bool rectify, float* strip, float* maps);

  /// U = G g G^T of some input channels, whose kernels lie `channel` values apart, and up to W
  /// output channels, which lie `lane` values apart: out (positions x channels x W). `rotated`
  /// turns the kernels by 180 degrees.
  void (*transform_weights)(const float* weights, int64_t lane, int lanes, int64_t channel,
                            int channels, bool rotated, float* out, int64_t out_position);
  /// weights += G^T u G, the adjoint.
  void (*add_weights_gradient)(const float* in, int64_t in_position, int64_t lane, int lanes,
                               float* weights);

  /// out (blocks x tiles x W) = the sum over the channels of maps (blocks x tiles x W) times
  /// weights (blocks x channels x W), or += if `add`. Each output is summed in the order of the
  /// channels, whatever the number of tiles and blocks.
  void (*multiply)(int tiles, int channels, int blocks, bool add, const float* maps,
                   int64_t maps_block, const float* weights, float* out, int64_t out_block);
  /// out (blocks x channels x W) += the sum over the tiles of maps (blocks x tiles x W) times
  /// gradients (blocks x tiles x W).
  void (*add_products)(int tiles, int channels, int blocks, const float* maps, int64_t maps_block,
                       const float* gradients, int64_t gradients_block, float* out,
                       int64_t out_block);
};

/// For processors with AVX2 and FMA, or with AVX-512; to be used on those only.
extern const WinogradKernels kWinogradAvx2;
extern const WinogradKernels kWinogradAvx512;

}  // namespace caffe

#endif  // CAFFE_ONEDNN_WINOGRAD_KERNELS_HPP_
