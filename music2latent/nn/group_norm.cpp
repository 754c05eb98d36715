// Group normalisation, and SiLU after it, in two passes over a channels_last map: x [B, S, C], S positions.
//
//   xhat = (x + shift - mean) * rstd      mean, rstd over one item's positions and one group's channels
//   y    = silu(gamma * xhat + beta)      or without the silu
//
// PyTorch's own takes four to six times as long in this layout, more than the convolutions around it.
// y may be x. Sums run over fixed parts of S, in order: results do not depend on the threads or on the other items.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

using bf16 = uint16_t;  // the upper half of a float32

inline float load(float x) { return x; }
inline float load(bf16 x) {
    uint32_t bits = uint32_t(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline void store(float& to, float x) { to = x; }
inline void store(bf16& to, float x) {  // to nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    to = x != x ? bf16(0x7fc0) : bf16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// 1 / (1 + exp(-x)), relative error 2e-7. Written out, so that compilers turn the loops around it into vectors.
inline float sigmoid(float x) {
    float t = -x;
    t = t < -87.0f ? -87.0f : t;
    t = t > 87.0f ? 87.0f : t;
    float n = std::rint(t * 1.44269504f);
    float r = (t - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two pieces
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits = uint32_t(int32_t(n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, 4);
    return 1.0f / (1.0f + p * scale);
}

constexpr int WIDTH = 1024;     // most channels, and most lanes that rows of few channels are packed into
constexpr int64_t PART = 4096;  // positions per part

struct Shape {
    int64_t batch, positions, channels, groups;
    int64_t lanes() const { return channels * (channels < 512 ? 512 / channels : 1); }
    int64_t parts() const { return (positions + PART - 1) / PART; }
    int64_t begin(int64_t part) const { return part * PART * channels; }
    int64_t end(int64_t part) const {
        int64_t last = (part + 1) * PART;
        return (last < positions ? last : positions) * channels;
    }
};

// Call f(first element, count) over blocks of whole rows, at most `lanes` elements each.
template <class F> inline void blocks(const Shape& s, int64_t part, F f) {
    const int64_t lanes = s.lanes(), end = s.end(part);
    for (int64_t at = s.begin(part); at < end; at += lanes) f(at, end - at < lanes ? end - at : lanes);
}

// One value per channel, repeated over the lanes.
inline void repeat(const Shape& s, const float* values, float* to) {
    for (int64_t i = 0; i < s.lanes(); ++i) to[i] = values ? values[i % s.channels] : 0.0f;
}

// Run f(index) for index from 0 to count, in threads or not. No `if` clause: a region that it makes serial still counts
// as an outer one, and libgomp starts new threads for every region inside another.
template <class F> inline void each(int64_t count, bool threads, F f) {
    if (!threads) {
        for (int64_t index = 0; index < count; ++index) f(index);
        return;
    }
#pragma omp parallel for
    for (int64_t index = 0; index < count; ++index) f(index);
}

// Add lanes [parts][count][lanes] up to [count][channels], in order.
inline void fold(const Shape& s, const std::vector<float>& from, int count, std::vector<double>& to) {
    to.assign(count * s.channels, 0.0);
    const int64_t lanes = s.lanes();
    for (int64_t part = 0; part < s.parts(); ++part)
        for (int k = 0; k < count; ++k)
            for (int64_t i = 0; i < lanes; ++i)
                to[k * s.channels + i % s.channels] += from[(part * count + k) * lanes + i];
}

template <class T>
void forward_item(const Shape& s, bool threads, const T* x, const float* gamma, const float* beta, const float* shift,
                  float eps, bool silu, T* y, float* mean, float* rstd) {
    const int64_t C = s.channels, lanes = s.lanes(), per = C / s.groups;
    float pivot[WIDTH], a[WIDTH], b[WIDTH], channel[WIDTH];
    for (int64_t c = 0; c < C; ++c) channel[c] = load(x[c]);
    repeat(s, channel, pivot);  // sums of differences from some value of the channel: squares lose nothing
    std::vector<float> lane_sums(s.parts() * 2 * lanes, 0.0f);
    each(s.parts(), threads, [&](int64_t part) {
        float* s1 = &lane_sums[part * 2 * lanes];
        float* s2 = s1 + lanes;
        blocks(s, part, [&](int64_t at, int64_t count) {
#pragma omp simd
            for (int64_t i = 0; i < count; ++i) {
                float v = load(x[at + i]) - pivot[i];
                s1[i] += v;
                s2[i] += v * v;
            }
        });
    });
    std::vector<double> sums;
    fold(s, lane_sums, 2, sums);
    const double N = double(s.positions);
    float scale[WIDTH], offset[WIDTH];
    for (int64_t g = 0; g < s.groups; ++g) {
        double m = 0, v = 0;
        for (int64_t c = g * per; c < (g + 1) * per; ++c) m += sums[c] / N + channel[c] + (shift ? shift[c] : 0.0f);
        m /= per;
        for (int64_t c = g * per; c < (g + 1) * per; ++c) {
            double own = sums[c] / N, from = own + channel[c] + (shift ? shift[c] : 0.0f) - m;
            v += sums[C + c] / N - own * own + from * from;
        }
        mean[g] = float(m);
        rstd[g] = float(1.0 / std::sqrt(v / per + eps));
        for (int64_t c = g * per; c < (g + 1) * per; ++c) {
            scale[c] = gamma[c] * rstd[g];
            offset[c] = beta[c] + ((shift ? shift[c] : 0.0f) - mean[g]) * scale[c];
        }
    }
    repeat(s, scale, a);
    repeat(s, offset, b);
    each(s.parts(), threads, [&](int64_t part) {
        blocks(s, part, [&](int64_t at, int64_t count) {
            if (silu)
#pragma omp simd
                for (int64_t i = 0; i < count; ++i) {
                    float u = load(x[at + i]) * a[i] + b[i];
                    store(y[at + i], u * sigmoid(u));
                }
            else
#pragma omp simd
                for (int64_t i = 0; i < count; ++i) store(y[at + i], load(x[at + i]) * a[i] + b[i]);
        });
    });
}

// sums [3][C]: of du, of du * xhat, and of dx, where u = gamma * xhat + beta.
template <bool silu, class T>
void backward_item(const Shape& s, bool threads, const T* x, const T* dy, const float* gamma, const float* beta,
                   const float* shift, const float* mean, const float* rstd, T* dx, float* sums) {
    const int64_t C = s.channels, lanes = s.lanes(), per = C / s.groups;
    float ga[WIDTH], be[WIDTH], a[WIDTH], b[WIDTH], k1[WIDTH], k2[WIDTH], k3[WIDTH];
    float scale[WIDTH], offset[WIDTH];
    for (int64_t c = 0; c < C; ++c) {  // xhat = x * scale + offset
        scale[c] = rstd[c / per];
        offset[c] = ((shift ? shift[c] : 0.0f) - mean[c / per]) * rstd[c / per];
    }
    repeat(s, scale, a);
    repeat(s, offset, b);
    repeat(s, gamma, ga);
    repeat(s, beta, be);
    auto slope = [](float g, float u) {  // of silu, times g
        if constexpr (!silu) return g;
        float q = sigmoid(u);
        return g * (q + u * q * (1.0f - q));
    };
    std::vector<float> lane_sums(s.parts() * 3 * lanes, 0.0f);
    each(s.parts(), threads, [&](int64_t part) {
        float* s1 = &lane_sums[part * 3 * lanes];
        float *s2 = s1 + lanes, *s3 = s2 + lanes;
        blocks(s, part, [&](int64_t at, int64_t count) {
#pragma omp simd
            for (int64_t i = 0; i < count; ++i) {
                float xhat = load(x[at + i]) * a[i] + b[i], du = slope(load(dy[at + i]), xhat * ga[i] + be[i]);
                if (silu) store(dx[at + i], du);  // kept there for the second pass: an exponential less
                s1[i] += du;
                s2[i] += du * xhat;
                s3[i] += xhat;
            }
        });
    });
    std::vector<double> all;
    fold(s, lane_sums, 3, all);
    const double N = double(s.positions) * per;
    for (int64_t g = 0; g < s.groups; ++g) {  // dx = rstd (gamma du - mean(gamma du) - xhat mean(gamma du xhat))
        double m1 = 0, m2 = 0;
        for (int64_t c = g * per; c < (g + 1) * per; ++c) {
            m1 += gamma[c] * all[c] / N;
            m2 += gamma[c] * all[C + c] / N;
        }
        for (int64_t c = g * per; c < (g + 1) * per; ++c) {
            sums[c] = float(all[c]);
            sums[C + c] = float(all[C + c]);
            sums[2 * C + c] = float(rstd[g] * (gamma[c] * all[c] - s.positions * m1 - m2 * all[2 * C + c]));
            scale[c] = float(rstd[g] * m2);
            offset[c] = float(rstd[g] * m1);
        }
    }
    repeat(s, scale, k2);
    repeat(s, offset, k3);
    for (int64_t i = 0; i < lanes; ++i) k1[i] = a[i] * ga[i];
    each(s.parts(), threads, [&](int64_t part) {
        blocks(s, part, [&](int64_t at, int64_t count) {
#pragma omp simd
            for (int64_t i = 0; i < count; ++i) {
                float xhat = load(x[at + i]) * a[i] + b[i];
                float du = load((silu ? dx : dy)[at + i]);
                store(dx[at + i], k1[i] * du - k2[i] * xhat - k3[i]);
            }
        });
    });
}

template <class T>
void forward(Shape s, const T* x, const float* gamma, const float* beta, const float* shift, float eps, bool silu, T* y,
             float* mean, float* rstd) {
    const int64_t item = s.positions * s.channels;
    each(s.batch, s.batch > 1, [&](int64_t n) {
        forward_item(s, s.batch == 1, x + n * item, gamma, beta, shift ? shift + n * s.channels : nullptr, eps, silu,
                     y + n * item, mean + n * s.groups, rstd + n * s.groups);
    });
}

template <class T>
void backward(Shape s, const T* x, const T* dy, const float* gamma, const float* beta, const float* shift,
              const float* mean, const float* rstd, bool silu, T* dx, float* sums) {
    const int64_t item = s.positions * s.channels;
    each(s.batch, s.batch > 1, [&](int64_t n) {
        (silu ? backward_item<true, T> : backward_item<false, T>)(
            s, s.batch == 1, x + n * item, dy + n * item, gamma, beta, shift ? shift + n * s.channels : nullptr,
            mean + n * s.groups, rstd + n * s.groups, dx + n * item, sums + n * 3 * s.channels);
    });
}

}  // namespace

extern "C" {

void group_norm_forward(int half, int64_t batch, int64_t positions, int64_t channels, int64_t groups, const void* x,
                        const float* gamma, const float* beta, const float* shift, float eps, int silu, void* y,
                        float* mean, float* rstd) {
    Shape s{batch, positions, channels, groups};
    if (half)
        forward(s, (const bf16*)x, gamma, beta, shift, eps, silu != 0, (bf16*)y, mean, rstd);
    else
        forward(s, (const float*)x, gamma, beta, shift, eps, silu != 0, (float*)y, mean, rstd);
}

void group_norm_backward(int half, int64_t batch, int64_t positions, int64_t channels, int64_t groups, const void* x,
                         const void* dy, const float* gamma, const float* beta, const float* shift, const float* mean,
                         const float* rstd, int silu, void* dx, float* sums) {
    Shape s{batch, positions, channels, groups};
    if (half)
        backward(s, (const bf16*)x, (const bf16*)dy, gamma, beta, shift, mean, rstd, silu != 0, (bf16*)dx, sums);
    else
        backward(s, (const float*)x, (const float*)dy, gamma, beta, shift, mean, rstd, silu != 0, (float*)dx, sums);
}
}
