// Times 3 x 3 convolutions by Winograd's algorithm and by what runs without it, for
// tools/bench/choose_convolution.py.
//
//   convolution_bench CHANNELS OUTPUTS TILES [CHANNELS OUTPUTS TILES ...]
//
// Prints for each shape a line of CSV a pass: instructions, channels, outputs, tiles, pass, and the
// least seconds of Winograd's algorithm and of the others, which take turns.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "onednn/onednn_convolution_layer.hpp"

namespace {

using caffe::Blob;
using caffe::OneDnnConvolutionLayer;

const int kRounds = 3;
const double kSeconds = 0.01;  // a round repeats a pass for so long

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one pass of the layer.
double Seconds(OneDnnConvolutionLayer* layer, Blob<float>* bottom, Blob<float>* top, bool backward,
               bool to_bottom) {
  const double start = Now();
  int passes = 0;
  do {
    if (backward) {
      layer->Backward({top}, {to_bottom}, {bottom});
    } else {
      layer->Forward({bottom}, {top});
    }
    ++passes;
  } while (Now() - start < kSeconds);
  return (Now() - start) / passes;
}

void Compare(int channels, int outputs, int tiles) {
  const int side = 4 * static_cast<int>(std::lround(std::sqrt(tiles)));
  Blob<float> bottom(1, channels, side, side);
  caffe::FillerParameter filler;
  caffe::GaussianFiller<float>(filler).Fill(&bottom);
  const char* const passes[] = {"forward", "forward, learning", "backward to weights",
                                "backward to bottom"};
  for (int pass = 0; pass < 4; ++pass) {
    caffe::LayerParameter param;
    param.set_phase(pass == 0 ? caffe::TEST : caffe::TRAIN);
    caffe::ConvolutionParameter* convolution = param.mutable_convolution_param();
    convolution->set_num_output(outputs);
    convolution->add_kernel_size(3);
    convolution->add_pad(1);
    convolution->mutable_weight_filler()->set_type("xavier");
    std::vector<std::unique_ptr<OneDnnConvolutionLayer> > layers;
    std::vector<std::unique_ptr<Blob<float> > > tops;
    for (auto algorithms :
         {OneDnnConvolutionLayer::kWinograd, OneDnnConvolutionLayer::kAllButWinograd}) {
      layers.emplace_back(new OneDnnConvolutionLayer(param, algorithms));
      tops.emplace_back(new Blob<float>);
      layers.back()->SetUp({&bottom}, {tops.back().get()});
      for (int i = 0; i < 2; ++i)
        layers.back()->set_param_propagate_down(i, pass == 1 || pass == 2);
      layers.back()->Forward({&bottom}, {tops.back().get()});
      std::fill_n(tops.back()->mutable_cpu_diff(), tops.back()->count(), 1e-3f);
    }
    double least[2] = {1e9, 1e9};
    for (int round = 0; round <= kRounds; ++round) {  // the first one warms up
      for (int i = 0; i < 2; ++i) {
        const double seconds =
            Seconds(layers[i].get(), &bottom, tops[i].get(), pass > 1, pass == 3);
        if (round > 0) least[i] = std::min(least[i], seconds);
      }
    }
    std::printf("\"%s\",%d,%d,%d,\"%s\",%.9f,%.9f\n", caffe::Winograd::Name(), channels, outputs,
                tiles, passes[pass], least[0], least[1]);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  if (argc < 4 || argc % 3 != 1) {
    std::fprintf(stderr, "usage: convolution_bench CHANNELS OUTPUTS TILES ...\n");
    return 2;
  }
  for (int i = 1; i + 2 < argc; i += 3) {
    Compare(std::atoi(argv[i]), std::atoi(argv[i + 1]), std::atoi(argv[i + 2]));
  }
  return 0;
}
