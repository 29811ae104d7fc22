/* SPDX-License-Identifier: MIT */
#include "attention_extras.h"

#include "../error.h"

rsc_extras_desc rsc_attention_extras(const rosace_attention_desc *desc) { return (rsc_extras_desc){.sink = desc->sink_logits}; }

rsc_extras rsc_attention_extras_of(const rosace_attention_args *args)
{
    return (rsc_extras){.sink_logits = args->sink_logits, .args = {.sink_offset = args->sink_logits_offset}};
}

void rsc_extras_options(const rsc_extras_desc *desc, rsc_options *options)
{
    if (desc->sink) rsc_option_int(options, "SINK", 1);
}

rosace_status rsc_extras_set(const rsc_extras_desc *desc, const rsc_extras *extras, cl_kernel kernel, const char *what,
                             cl_uint count)
{
    if (!desc->sink) return ROSACE_OK;
    cl_int code = clSetKernelArg(kernel, count, sizeof extras->sink_logits, &extras->sink_logits);
    if (!code) code = clSetKernelArg(kernel, count + 1, sizeof extras->args, &extras->args);
    return code ? rsc_fail_cl(code, "%s: arguments from %u on", what, count) : ROSACE_OK;
}
