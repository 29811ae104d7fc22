/* SPDX-License-Identifier: MIT */
#include <rosace/rosace.h>
#include <stdio.h>

int main(void) {
    return printf("rosace %s as a subproject\n", rosace_version()) < 0;
}
