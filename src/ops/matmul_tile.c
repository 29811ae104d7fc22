/* SPDX-License-Identifier: MIT
 * rosace's own kernels for matrix products: their rows, how a product is cut into work-items, and packed weights.
 *
 * None needs workspace: on CPU devices a work-item copies its part of A and B into private memory as it goes
 * (cl/matmul_panel.cl), so a call allocates nothing and any number of threads may enqueue. */
#include "matmul.h"

#include "../check.h"
#include "../device.h"
#include "../program.h"

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

/* A CPU device compiles one work-item to vector instructions of its own width; where it reports no width it vectorises
 * over work-items and is treated as a GPU. */
static bool is_cpu(const rosace_device_info *device, unsigned least, unsigned most)
{
    return device->device_class == ROSACE_DEVICE_CPU && device->float_vector_width >= least &&
           device->float_vector_width <= most;
}

static bool cpu16(const rosace_device_info *device) { return is_cpu(device, 16, 1024); }
static bool cpu8(const rosace_device_info *device) { return is_cpu(device, 8, 15); }
static bool cpu4(const rosace_device_info *device) { return is_cpu(device, 4, 7); }
static bool any(const rosace_device_info *device)
{
    (void)device;
    return true;
}

/* Two vectors of sums per row and two of B: 26 of the 32 registers of AVX-512 and NEON, 14 of the 16 of AVX. The copy of A
 * (chunk * block_k floats) and C (chunk * columns) fit a second cache of 1 MB between them where vectors are widest, a panel
 * of B (2 * vec * block_k) the first. On Sapphire Rapids, 2048^3: 264 x 1024 x 256 80 to 82 % of the FMA peak; half the
 * columns, or a block of 384, no better. */
/* clang-format off */
const rsc_matmul_row rsc_matmul_tile_rows[] = {
    /* name               kind                 vec rows chunk columns block_k suits */
    {"matmul_few_v16",   RSC_MATMUL_FEW_ROWS,  16,   0,   0,      0,      0, cpu16},
    {"matmul_panel_v16", RSC_MATMUL_PANEL,     16,  12, 264,   1024,    256, cpu16},
    {"matmul_few_v8",    RSC_MATMUL_FEW_ROWS,   8,   0,   0,      0,      0, cpu8},
    {"matmul_panel_v8",  RSC_MATMUL_PANEL,      8,   6, 240,    512,    256, cpu8},
    {"matmul_few_v4",    RSC_MATMUL_FEW_ROWS,   4,   0,   0,      0,      0, cpu4},
    {"matmul_panel_v4",  RSC_MATMUL_PANEL,      4,  12, 240,    512,    256, cpu4},
    {"matmul_item_v4",   RSC_MATMUL_ITEM,       4,   4,   0,      0,      0, any},
    {.name = NULL},
};
/* clang-format on */

/* Results that are not fp32 keep their sums in private memory, so a work-item makes less of them. */
enum { NARROW_CHUNK = 120, NARROW_COLUMNS = 128 };

/* Kernels of RSC_MATMUL_FEW_ROWS: up to `m` rows of A, `rows` at a time. With B as it is, the sums of `columns` columns stay
 * in the first cache; with B transposed `j` rows of it at a time. */
enum { N_FEW = 4 };
typedef struct few_shape {
    unsigned m, rows, columns, rows_transposed, j, j_of_8; /* j_of_8: with 16 registers, where vectors have 8 elements */
} few_shape;
/* On Sapphire Rapids, 4096 x 4096 with B transposed, one row and four reach 92 to 100 % of the read bandwidth (four rows of B
 * as it is 85 to 95 %), eight 80 to 88 %, sixteen half of it; matmul_panel 45 % at one row and 36 % at sixteen. */
static const few_shape few_shapes[N_FEW] = {
    {1, 1, 2048, 1, 8, 8}, {4, 4, 1024, 4, 6, 2}, {8, 8, 512, 8, 3, 1}, {RSC_MATMUL_FEW, 16, 512, 8, 3, 1}};

struct rsc_matmul {
    rosace_context *context;
    rsc_matmul_desc desc;
    const rsc_matmul_row *row; /* of `kernel`: the row with which every call can be made, unless that is CLBlast's */
    cl_kernel kernel;
    cl_kernel few[N_FEW]; /* made on first use */
};

const rsc_matmul_desc *rsc_matmul_get_desc(const rsc_matmul *matmul) { return &matmul->desc; }
rosace_context *rsc_matmul_context(const rsc_matmul *matmul) { return matmul->context; }

static const rsc_matmul_row *general_row(const rosace_device_info *device)
{
    const rsc_matmul_row *row = rsc_matmul_tile_rows;
    while (row->kind == RSC_MATMUL_FEW_ROWS || !row->suits(device)) row++;
    return row;
}

size_t rsc_matmul_rows(const rosace_device_info *device)
{
    const rsc_matmul_row *row = general_row(device);
    return row->kind == RSC_MATMUL_PANEL ? row->chunk : 128;
}

const char *rsc_matmul_tile_refuses(const rsc_matmul_row *row, const rosace_device_info *device,
                                    const rsc_matmul_desc *desc, const rsc_matmul_call *call)
{
    if (desc->b_packed && row != general_row(device)) return "the weights are packed for another row";
    if (row->kind != RSC_MATMUL_FEW_ROWS) return desc->row || row == general_row(device) ? NULL : "made for other devices";
    if (!desc->row && !row->suits(device)) return "made for other devices";
    if (desc->one_kernel) return "one kernel alone is wanted";
    if (call->args.m > RSC_MATMUL_FEW) return "too many rows";
    if (desc->transpose_a) return "A is transposed";
    return NULL;
}

/* ---- Kernels ------------------------------------------------------------------------------------------------------ */

static void set_storage(rsc_options *options, const rsc_matmul_desc *desc, unsigned vec)
{
    rsc_option_int(options, "VEC", (long)vec);
    rsc_option_int(options, "A_DTYPE", (long)desc->a);
    rsc_option_int(options, "B_DTYPE", (long)desc->b);
    rsc_option_int(options, "C_DTYPE", (long)desc->c);
    rsc_option_int(options, "TRANSPOSE_B", desc->transpose_b);
}

static rosace_status make_kernel(rosace_context *context, const rsc_matmul_desc *desc, const rsc_matmul_row *row,
                                 const char *name, cl_kernel *out)
{
    static const char *const panel[] = {"matmul_panel.cl", NULL}, *const item[] = {"matmul_item.cl", NULL};
    rsc_options options = {.count = 0};
    set_storage(&options, desc, row->vec);
    rsc_option_int(&options, "TRANSPOSE_A", desc->transpose_a);
    rsc_option_int(&options, "ROWS", (long)row->rows);
    if (row->kind == RSC_MATMUL_PANEL) {
        rsc_option_int(&options, "CHUNK", (long)(desc->c != ROSACE_F32 ? NARROW_CHUNK : row->chunk));
        rsc_option_int(&options, "COLUMNS", NARROW_COLUMNS);
        rsc_option_int(&options, "BLOCK_K", (long)row->block_k);
        rsc_option_int(&options, "B_PACKED", desc->b_packed);
    }
    return rsc_kernel_create(context, row->kind == RSC_MATMUL_PANEL ? panel : item, name, &options, out);
}

static rosace_status make_few(rsc_matmul *matmul, const rsc_matmul_row *row, unsigned index)
{
    static const char *const pieces[] = {"matmul_few.cl", NULL};
    const few_shape *shape = &few_shapes[index];
    rsc_options options = {.count = 0};
    set_storage(&options, &matmul->desc, row->vec);
    rsc_option_int(&options, "ROWS", (long)(matmul->desc.transpose_b ? shape->rows_transposed : shape->rows));
    rsc_option_int(&options, "J", (long)(row->vec == 8 ? shape->j_of_8 : shape->j));
    rsc_option_int(&options, "COLUMNS", (long)shape->columns);
    return rsc_kernel_create(matmul->context, pieces, "matmul_few", &options, &matmul->few[index]);
}

rosace_status rsc_matmul_create(rosace_context *context, const rsc_matmul_desc *desc, rsc_matmul **out)
{
    *out = NULL;
    rsc_matmul *matmul = rsc_calloc(context, 1, sizeof *matmul);
    if (!matmul) return rsc_fail(ROSACE_OUT_OF_MEMORY, "matmul: no host memory");
    matmul->context = context;
    matmul->desc = *desc;
    matmul->row = desc->row ? desc->row : general_row(rosace_context_device_info(context));
    rosace_status status = ROSACE_OK;
    if (matmul->row->kind == RSC_MATMUL_PANEL && desc->path != ROSACE_MATMUL_CLBLAST)
        status = make_kernel(context, desc, matmul->row, "matmul_panel", &matmul->kernel);
    if (matmul->row->kind == RSC_MATMUL_ITEM && desc->path != ROSACE_MATMUL_CLBLAST)
        status = make_kernel(context, desc, matmul->row, "matmul_item", &matmul->kernel);
    if (status) rsc_matmul_destroy(&matmul);
    *out = matmul;
    return status;
}

void rsc_matmul_destroy(rsc_matmul **matmul)
{
    if (!matmul || !*matmul) return;
    if ((*matmul)->kernel) clReleaseKernel((*matmul)->kernel);
    for (int i = 0; i < N_FEW; i++)
        if ((*matmul)->few[i]) clReleaseKernel((*matmul)->few[i]);
    rsc_free((*matmul)->context, *matmul);
    *matmul = NULL;
}

/* ---- Work-items -------------------------------------------------------------------------------------------------- */

static size_t divide_up(size_t n, size_t by) { return (n + by - 1) / by; }

/* Cuts C among work-items of matmul_panel: for each number of pieces down and of rounds of all compute units, as many pieces
 * across as make the rounds full, and of these the cut that is done first. Time is counted in multiplications per lane and
 * step of k; copying a row of register tiles or a panel costs 9 and 8 of these. */
static void cut(const rsc_matmul_row *row, const rsc_matmul_desc *desc, size_t units, size_t batch, rsc_matmul_args *args)
{
    const bool narrow = desc->c != ROSACE_F32;
    const size_t width = 2 * (size_t)row->vec, chunk = narrow ? NARROW_CHUNK : row->chunk;
    const size_t tiles = divide_up(args->m, row->rows), panels = divide_up(args->n, width);
    const size_t least_down = divide_up(tiles, chunk / row->rows);
    const size_t least_across = divide_up(panels, (narrow ? NARROW_COLUMNS : row->columns) / width);
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < 32 && least_down + i <= tiles; i++) {
        const size_t down = least_down + i, high = divide_up(tiles, down);
        for (size_t rounds = 1; rounds <= 8; rounds++) {
            size_t across = rounds * units / (down * batch);
            if (across < least_across) across = least_across;
            if (across > panels) across = panels;
            const size_t wide = divide_up(panels, across);
            const size_t items = divide_up(tiles, high) * divide_up(panels, wide) * batch;
            const size_t time = divide_up(items, units) * (row->rows * high * wide + 9 * high + (desc->b_packed ? 0 : 8) * wide);
            if (time >= best) continue;
            best = time;
            args->chunk = (uint32_t)(high * row->rows);
            args->columns = (uint32_t)(wide * width);
        }
    }
}

static rosace_status run_panel(rsc_matmul *matmul, const rsc_matmul_row *row, rsc_chain *chain, const rsc_matmul_call *call)
{
    static const size_t alone[3] = {1, 1, 1};
    rsc_matmul_args args = call->args;
    cut(row, &matmul->desc, rosace_context_device_info(matmul->context)->compute_units, call->batch, &args);
    const size_t global[3] = {divide_up(args.n, args.columns), divide_up(args.m, args.chunk), call->batch};
    const rosace_status status = RSC_ARGS(matmul->kernel, row->name, RSC_ARG(call->a), RSC_ARG(call->b), RSC_ARG(call->c),
                                          RSC_ARG(args));
    return status ? status : rsc_chain_kernel(chain, matmul->kernel, 3, global, alone, row->name);
}

static rosace_status run_item(rsc_matmul *matmul, const rsc_matmul_row *row, rsc_chain *chain, const rsc_matmul_call *call)
{
    const size_t most = rosace_context_device_info(matmul->context)->max_work_group_size, local = most < 64 ? most : 64;
    rsc_matmul_args args = call->args;
    args.tiles = (uint64_t)divide_up(args.n, 2 * row->vec) * divide_up(args.m, row->rows) * call->batch;
    if (args.tiles > SIZE_MAX - local) return rsc_fail(ROSACE_UNSUPPORTED, "%s: more tiles than a launch can have", row->name);
    const size_t global = divide_up((size_t)args.tiles, local) * local;
    const rosace_status status = RSC_ARGS(matmul->kernel, row->name, RSC_ARG(call->a), RSC_ARG(call->b), RSC_ARG(call->c),
                                          RSC_ARG(args));
    return status ? status : rsc_chain_kernel(chain, matmul->kernel, 1, &global, &local, row->name);
}

static rosace_status run_few(rsc_matmul *matmul, const rsc_matmul_row *row, rsc_chain *chain, const rsc_matmul_call *call)
{
    static const size_t alone[3] = {1, 1, 1};
    unsigned index = 0;
    while (few_shapes[index].m < call->args.m) index++;
    rosace_status status = matmul->few[index] ? ROSACE_OK : make_few(matmul, row, index);
    if (status) return status;
    const few_shape *shape = &few_shapes[index];
    const size_t units = rosace_context_device_info(matmul->context)->compute_units;
    /* Four pieces for every unit even out the end. Rows of B that lie one after the other may be cut as one likes, parts of
     * rows should be long. */
    const size_t step = matmul->desc.transpose_b ? (row->vec == 8 ? shape->j_of_8 : shape->j) : row->vec;
    size_t columns = divide_up(divide_up(call->args.n, 4 * units), step) * step;
    if (!matmul->desc.transpose_b) {
        columns = divide_up(divide_up(call->args.n, units), step) * step;
        if (columns > shape->columns) columns = shape->columns;
    }
    rsc_matmul_args args = call->args;
    args.columns = (uint32_t)columns;
    const size_t global[3] = {divide_up(args.n, columns), 1, call->batch};
    status = RSC_ARGS(matmul->few[index], row->name, RSC_ARG(call->a), RSC_ARG(call->b), RSC_ARG(call->c), RSC_ARG(args));
    return status ? status : rsc_chain_kernel(chain, matmul->few[index], 3, global, alone, row->name);
}

rosace_status rsc_matmul_tile(rsc_matmul *matmul, const rsc_matmul_row *row, rsc_chain *chain, const rsc_matmul_call *call)
{
    /* Of loops, at least: matmul_item takes one for each k, and is what devices that end them get. */
    const rosace_status status = rsc_check_loops(rosace_context_device_info(matmul->context), row->name, call->args.k + 400);
    if (status) return status;
    if (row->kind == RSC_MATMUL_FEW_ROWS) return run_few(matmul, row, chain, call);
    return row->kind == RSC_MATMUL_PANEL ? run_panel(matmul, row, chain, call) : run_item(matmul, row, chain, call);
}

/* ---- Packed weights ---------------------------------------------------------------------------------------------- */

rosace_status rsc_matmul_pack(rosace_context *context, cl_command_queue queue, rosace_matmul_weights *weights)
{
    const rsc_matmul_row *row = general_row(rosace_context_device_info(context));
    const rosace_matrix *matrix = &weights->matrix;
    rsc_chain chain;
    rosace_status status = rsc_chain_begin(&chain, context, queue, 0, NULL);
    if (status || row->kind != RSC_MATMUL_PANEL) return rsc_chain_end(&chain, status, NULL);
    const size_t k = weights->transpose ? matrix->cols : matrix->rows, n = weights->transpose ? matrix->rows : matrix->cols;
    const size_t panels = divide_up(n, 2 * row->vec);
    const rsc_matmul_desc desc = {.a = weights->dtype, .b = weights->dtype, .c = weights->dtype, .transpose_b = weights->transpose};
    const rsc_matmul_args args = {.b = {.offset = matrix->offset, .row_stride = matrix->row_stride, .inner_div = 1},
                                  .n = (uint32_t)n,
                                  .k = (uint32_t)k,
                                  .columns = 2 * row->vec,
                                  .inner = 1};
    cl_kernel kernel = NULL;
    cl_event done = NULL;
    size_t bytes;
    if (!rsc_mul(panels * 2 * row->vec, k, &bytes) || !rsc_mul(bytes, rosace_dtype_size(weights->dtype), &bytes))
        status = rsc_fail(ROSACE_OUT_OF_MEMORY, "weights: their size overflows");
    if (!status) status = rsc_buffer_create(context, bytes, CL_MEM_READ_WRITE, NULL, "weights", &weights->packed);
    if (!status) status = make_kernel(context, &desc, row, "matmul_pack", &kernel);
    if (!status)
        status = RSC_ARGS(kernel, "weights", RSC_ARG(matrix->mem), RSC_ARG(weights->packed), RSC_ARG(args));
    if (!status) status = rsc_chain_kernel(&chain, kernel, 1, &panels, NULL, "weights");
    status = rsc_chain_end(&chain, status, status ? NULL : &done);
    if (done) {
        const cl_int code = clWaitForEvents(1, &done);
        if (code) status = rsc_fail_cl(code, "weights: clWaitForEvents");
        clReleaseEvent(done);
    }
    if (kernel) clReleaseKernel(kernel);
    return status;
}
