/* SPDX-License-Identifier: MIT
 * What CLBlast's matrix products are told to use: sets of its parameters, which of them a context goes by, and how they get
 * there (matmul_clblast.c makes the products, tune/clblast.c measures).
 *
 * CLBlast keeps parameters for the process, per device and precision, so the context that makes a product first after
 * another set was given decides for all; only speed depends on it. CLBlast takes any numbers, and some that it takes give
 * wrong answers, so files and callers name a set of the table here, never numbers. */
#ifndef ROSACE_SRC_OPS_CLBLAST_SETS_H
#define ROSACE_SRC_OPS_CLBLAST_SETS_H

#include "../context.h"
#include "../tuning.h"

/* Without a set CLBlast goes by its own database. Its C interface can set parameters but not ask for them, so a process that
 * gave it a set does not get back there; it has a row's name because it is one of what is chosen from. */
#define RSC_CLBLAST_DATABASE "database"

/* Of the kernel "Xgemm", in its words; MDIMA = MDIMC, NDIMB = NDIMC, GEMMK = 0, KREG = 1. */
typedef struct rsc_clblast_set {
    const char *name;
    bool cpu;                  /* for CPU devices; else for others */
    unsigned mwg, nwg, kwg;    /* tile of a work-group, and of its sums */
    unsigned mdim, ndim;       /* work-items of a group */
    unsigned kwi;              /* turns of the innermost loop that are unrolled */
    unsigned vwm, vwn;         /* vectors */
    bool strm, strn, sa, sb;   /* elements of an item apart by mdim, ndim; A, B through local memory */
    unsigned least;            /* "GemmRoutine": products smaller than this cubed take its direct kernel */
} rsc_clblast_set;

/* Ends with a NULL name. The first is what CLBlast has for devices that it does not know: it runs everywhere. */
extern const rsc_clblast_set rsc_clblast_sets[];

/* Whether CLBlast's kernel is right with these numbers, and the device has the items and the local memory. */
bool rsc_clblast_set_fits(const rsc_clblast_set *set, const rosace_device_info *device, rosace_dtype dtype);

/* The index-th name to choose from on a device; NULL behind the last. RSC_CLBLAST_DATABASE is one where none is shipped. */
const char *rsc_clblast_candidate(const rosace_device_info *device, rosace_dtype dtype, size_t index);

/* What a context goes by: as measured, else as shipped for the device, else RSC_CLBLAST_DATABASE. */
const char *rsc_clblast_choice(rosace_context *context, rosace_dtype dtype);

/* Gives CLBlast the set of this name unless this context did so last. Where CLBlast refuses, it stays as it is, and the log
 * says so. */
void rsc_clblast_apply(rosace_context *context, rosace_dtype dtype, const char *name);

/* What this context gave CLBlast last; NULL: nothing. */
const char *rsc_clblast_current(rosace_context *context, rosace_dtype dtype);

/* Before a product: applies the context's choice, the first time. */
void rsc_clblast_ready(rosace_context *context, rosace_dtype dtype);

/* After a product failed for `reason` in CLBlast: whether a set was in use and the one that runs everywhere is now, so that
 * it is worth trying again. The context keeps to it. */
bool rsc_clblast_fall_back(rosace_context *context, rosace_dtype dtype, const char *reason);

/* The class of shapes under which a choice is kept: of all products of a type. */
static inline const char *rsc_clblast_class(rosace_dtype dtype) { return dtype == ROSACE_F16 ? "f16" : "f32"; }

#endif
