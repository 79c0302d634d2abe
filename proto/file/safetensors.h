/* safetensors.h: reads a trained model's weights from a .safetensors file.
 *
 * The sizes of the model stand in the file's __metadata__, all as text: matcher ("transmatcher" or
 * "qaconv"), height, width, d_model (QAConv: num_features will do), num_layers and dim_feedforward
 * (QAConv: 1 and 0 without them), bn_eps (1e-5 without it). Other keys are ignored. */
#ifndef PR_SAFETENSORS_H
#define PR_SAFETENSORS_H

#include "common/err.h"
#include "common/weights.h"

struct pr_safetensors;

/* Reads the whole of `path`. F32, F16, BF16 and F64 become float32; the integer counters that
 * PyTorch keeps in every BatchNorm (*.num_batches_tracked) are left out. The tensors come in the
 * order of their data. On failure *out is NULL. Any thread.
 * Errors, which name the file and the tensor or key: CM_ENOENT, CM_EIO, CM_ENOMEM; CM_EFORMAT (no
 * safetensors file, metadata missing or ill-typed, another dtype, offsets that leave the file,
 * overlap, leave a hole or disagree with the shape, a NaN or infinity); CM_ELIMIT (file, header or
 * a size over limits.h). */
enum cm_err pr_safetensors_read(struct pr_safetensors **out, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* What was read; lives as long as `s`. */
const struct cm_weights *pr_safetensors_weights(const struct pr_safetensors *s);

/* NULL is fine. */
void pr_safetensors_free(struct pr_safetensors *s);

#endif
