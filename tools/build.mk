# SPDX-License-Identifier: Apache-2.0
kvsctl_src :=

# tools/bench: programs that `make bench` measures, or measures with
bench_programs := bench_framing bench_load
bench_archives := io core proto base
bench_framing_src := tools/bench/framing.c tools/bench/mp4_table.c
bench_load_src := tools/bench/load.c
$(O)/obj/tools/%.o: ours_cpp += -Itools
