// A declared space whose networks are made of all kinds of blocks there are.
#pragma once

#include "nas/space/space_factory.h"

namespace hwnas {

// Some kinds are in every network (conv, residual, parallel, repeat, choose,
// head), the others in many: what choices say of one, or a case of `op`. The
// images are small, so a network takes milliseconds.
inline SpaceConfig EveryBlockSpace() {
  using B = DeclaredBlock;
  const B body{
      .kind = B::kChoose,
      .parameters = {{"by", "op{i}"}},
      .bodies = {{{.kind = B::kConv, .parameters = {{"groups", "2"}}}},
                 {{.kind = B::kDepthwise,
                   .parameters = {{"kernel", "kernel"},
                                  {"activation", "activation"}}}},
                 {{.kind = B::kMbConv,
                   .parameters = {{"kernel", "kernel"},
                                  {"expansion", "2"},
                                  {"activation", "activation"},
                                  {"squeeze_excite", "se"},
                                  {"squeeze_of", "se_of"}}}},
                 {{.kind = B::kPool,
                   .parameters = {{"kind", "pool"},
                                  {"kernel", "3"},
                                  {"stride", "1"}}}},
                 {}},
      .cases = {{"conv"}, {"depthwise"}, {"mbconv"}, {"pool"}, {"skip"}}};
  return DeclaredConfig{
      .choices = {{.name = "width", .ordered = {"0.5", "1"}},
                  {.name = "depth", .integers = IntegerRange{1, 3}},
                  {.name = "op{0..2}",
                   .options = {"conv", "depthwise", "mbconv", "pool", "skip"}},
                  {.name = "kernel", .ordered = {"3", "5"}},
                  {.name = "activation", .options = {"relu6", "hard_swish"}},
                  {.name = "se", .options = {"off", "on"}},
                  {.name = "se_of", .options = {"middle", "input"}},
                  {.name = "pool", .options = {"max", "avg"}},
                  {.name = "join", .options = {"add", "concat"}},
                  {.name = "side", .ordered = {"12", "16"}}},
      .network = DeclaredNetworkConfig{
          .input = {3, 16, 16},
          .resolution = "side",
          .channel_multiple = 4,
          .blocks = {
              {.kind = B::kConv, .parameters = {{"channels", "16*width"}}},
              {.kind = B::kRepeat,
               .parameters = {{"times", "depth"},
                              {"index", "i"},
                              {"stride", "2"}},
               .bodies = {{body}}},
              {.kind = B::kResidual,
               .parameters = {{"activation", "relu"}},
               .bodies = {{{.kind = B::kConv,
                            .parameters = {{"channels", "24*width"},
                                           {"activation", "none"}}}}}},
              {.kind = B::kParallel,
               .parameters = {{"join", "join"}},
               .bodies = {{{.kind = B::kConv, .parameters = {{"kernel", "1"}}}},
                          {{.kind = B::kDepthwise}},
                          {}}},
              {.kind = B::kHead,
               .parameters = {{"channels", "32"}, {"dropout", "0.2"}}}}}};
}

}  // namespace hwnas
