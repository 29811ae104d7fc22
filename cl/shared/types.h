/* SPDX-License-Identifier: MIT
 * Types of one size on host and device, for the structs that both see. Structs hold these and float only, 8-byte members
 * first, and an even number of 4-byte ones, so that no compiler pads them. */
#ifndef ROSACE_CL_SHARED_TYPES
#define ROSACE_CL_SHARED_TYPES

#ifdef __OPENCL_C_VERSION__
#define RSC_I64 long
#define RSC_U64 ulong
#define RSC_I32 int
#define RSC_U32 uint
#else /* C, behind <stdint.h>: the library expands every #include of a kernel, and no device has that one */
#define RSC_I64 int64_t
#define RSC_U64 uint64_t
#define RSC_I32 int32_t
#define RSC_U32 uint32_t
#endif

#endif
