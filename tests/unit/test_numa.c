/* test_numa.c - memory nodes from fixture trees, and who of a team runs on which.
 * SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "compute/pool.h"
#include "platform/machine.h"
#include "platform/os.h"
#include "temp.h"

/* ---- lists ---- */

static spn_cpu_bits bits_of(const char *list) {
    spn_cpu_bits bits;
    assert_true(spn_linux_list_bits(list, &bits));
    return bits;
}

static uint32_t count(const spn_cpu_bits *bits) {
    uint32_t n = 0;
    for (size_t i = 0; i < SPN_COUNT(bits->words); i++)
        n += (uint32_t)__builtin_popcountll(bits->words[i]);
    return n;
}

static void lists_are_sets(void **state) {
    (void)state;
    spn_cpu_bits bits = bits_of("0-3,8-11\n");
    assert_int_equal(bits.words[0], 0xF0F);
    assert_int_equal(count(&bits), 8);
    bits = bits_of("\n");
    assert_int_equal(count(&bits), 0);
    bits = bits_of("5,5,4-6,63-64\n"); /* overlaps and word ends */
    assert_int_equal(bits.words[0], (uint64_t)0x70 | (uint64_t)1 << 63);
    assert_int_equal(bits.words[1], 1);
    bits = bits_of("0-65535\n");
    assert_int_equal(count(&bits), 65536);
}

static void other_texts_are_none(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        "0-",
        "0-\n",
        "-1\n",
        "3-1\n",
        "0-65536\n",
        "65536\n",
        "0,,1\n",
        ",0\n",
        "0,\n",
        "0-3,8-1",
        " 0\n",
        "0 \n",
        "0-3:1\n",
        "a\n",
        "0x1\n",
        "1-2-3\n",
        "+1\n",
        "4294967296\n",
        "99999999999999999999\n",
    };
    spn_cpu_bits before, bits;
    memset(&before, 0xA5, sizeof before);
    bits = before;
    for (size_t i = 0; i < SPN_COUNT(texts); i++) {
        if (spn_linux_list_bits(texts[i], &bits)) fail_msg("'%s' is taken for a list", texts[i]);
        assert_memory_equal(&bits, &before, sizeof bits);
    }
}

/* ---- trees ---- */

static void write_node(uint32_t node, const char *cpulist) {
    char name[128];
    snprintf(name, sizeof name, "sys/devices/system/node/node%u/cpulist", node);
    temp_write_text(name, cpulist);
}

static void write_nodes(const char *online, const char *has_memory) {
    temp_write_text("sys/devices/system/node/online", online);
    temp_write_text("sys/devices/system/node/has_memory", has_memory);
}

static void write_siblings(uint32_t cpu, const char *list) {
    char name[128];
    snprintf(name, sizeof name, "sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", cpu);
    temp_write_text(name, list);
}

static uint32_t detect(const char *usable, spn_numa_node nodes[SPN_NUMA_NODES]) {
    spn_cpu_bits bits = bits_of(usable);
    return spn_linux_numa(temp_root, &bits, nodes);
}

static void assert_node(const spn_numa_node *node, uint32_t number, uint32_t n_processors,
                        uint32_t n_cores) {
    assert_int_equal(node->number, number);
    assert_int_equal(node->n_processors, n_processors);
    assert_int_equal(node->n_cores, n_cores);
}

static void one_node_is_no_matter(void **state) {
    (void)state;
    spn_numa_node nodes[SPN_NUMA_NODES];
    assert_int_equal(detect("0-7\n", nodes), 0); /* no such files at all */
    write_nodes("0\n", "0\n");
    write_node(0, "0-7\n");
    assert_int_equal(detect("0-7\n", nodes), 0);
}

static void two_nodes_with_hyper_threads(void **state) {
    (void)state;
    spn_numa_node nodes[SPN_NUMA_NODES];
    write_nodes("0-1\n", "0-1\n");
    write_node(0, "0-3,8-11\n");
    write_node(1, "4-7,12-15\n");
    for (uint32_t cpu = 0; cpu < 16; cpu++) {
        char list[32];
        snprintf(list, sizeof list, "%u,%u\n", cpu % 8, cpu % 8 + 8);
        write_siblings(cpu, list);
    }
    assert_int_equal(detect("0-15\n", nodes), 2);
    assert_node(&nodes[0], 0, 8, 4);
    assert_node(&nodes[1], 1, 8, 4);
    /* The mask leaves both threads of core 0, one of core 1 (its second), and core 4's second. */
    assert_int_equal(detect("0,8,9,12\n", nodes), 2);
    assert_node(&nodes[0], 0, 3, 2);
    assert_node(&nodes[1], 1, 1, 1);
    assert_int_equal(detect("0-3\n", nodes), 0); /* only one node is left */
    assert_int_equal(detect("100\n", nodes), 0);
}

static void nodes_without_memory_or_processors(void **state) {
    (void)state;
    spn_numa_node nodes[SPN_NUMA_NODES];
    write_nodes("0-3\n", "0,2-3\n");
    write_node(0, "0-3\n");
    write_node(1, "4-7\n"); /* no memory: its processors still work */
    write_node(2, "8-11\n");
    write_node(3, "\n"); /* memory alone */
    assert_int_equal(detect("0-15\n", nodes), 3);
    assert_node(&nodes[0], 0, 4, 4); /* without records of siblings all are cores */
    assert_node(&nodes[1], 1, 4, 4);
    assert_node(&nodes[2], 2, 4, 4);
    /* Node 0 is the only one with both. */
    assert_int_equal(detect("0-7\n", nodes), 0);
}

static void holes_and_offline_processors(void **state) {
    (void)state;
    spn_numa_node nodes[SPN_NUMA_NODES];
    write_nodes("0,8\n", "0,8\n"); /* nodes 1 to 7 are offline */
    write_node(0, "0-1,3\n");      /* so is processor 2 */
    write_node(8, "64-67\n");
    assert_int_equal(detect("0-127\n", nodes), 2);
    assert_node(&nodes[0], 0, 3, 3);
    assert_node(&nodes[1], 8, 4, 4);
}

static void four_nodes(void **state) {
    (void)state;
    spn_numa_node nodes[SPN_NUMA_NODES];
    write_nodes("0-3\n", "0-3\n");
    write_node(0, "0-7\n");
    write_node(1, "8-15\n");
    write_node(2, "16-23\n");
    write_node(3, "24-31\n");
    assert_int_equal(detect("0-31\n", nodes), 4);
    for (uint32_t i = 0; i < 4; i++) assert_node(&nodes[i], i, 8, 8);
}

static void nonsense_is_no_node(void **state) {
    (void)state;
    spn_numa_node nodes[SPN_NUMA_NODES];
    write_nodes("0-2\n", "nonsense\n");
    write_node(0, "0-1\n");
    write_node(1, "2-\n");
    write_node(2, "4-5\n");
    assert_int_equal(detect("0-15\n", nodes), 2);
    assert_node(&nodes[1], 2, 2, 2);
    write_nodes("0-99\n", "0-99\n"); /* more than there is room for */
    for (uint32_t i = 0; i < 100; i++) write_node(i, "0\n");
    assert_int_equal(detect("0-15\n", nodes), 0);
    static char list[40001]; /* longer than is read, and so cut */
    for (size_t i = 0; i < sizeof list - 1; i += 2) memcpy(list + i, "1,", 2);
    memcpy(list + sizeof list - 3, "1\n", 2);
    write_nodes("0-1\n", "0-1\n");
    write_node(0, list);
    write_node(1, "2\n");
    assert_int_equal(detect("0-15\n", nodes), 0);
}

/* ---- who runs where ---- */

static void assert_spread(const spn_numa_node *nodes, uint32_t n_nodes, const char *want) {
    uint32_t node_of[64];
    char got[65];
    uint32_t n = (uint32_t)strlen(want);
    spn_numa_spread(nodes, n_nodes, n, node_of);
    for (uint32_t i = 0; i < n; i++) got[i] = (char)('0' + node_of[i]);
    got[n] = '\0';
    assert_string_equal(got, want);
}

static void members_are_spread_evenly(void **state) {
    (void)state;
    static const spn_numa_node two[] = {{0, 8, 4}, {1, 8, 4}};
    assert_spread(two, 2, "01");
    assert_spread(two, 2, "001");
    assert_spread(two, 2, "00001111");
    assert_spread(two, 2, "0000000011111111"); /* both threads of each core */
    assert_spread(two, 2,
                  "000000000000000011111111111111"
                  "11"); /* twice as many as there are */
    static const spn_numa_node four[] = {{0, 8, 8}, {1, 8, 8}, {2, 8, 8}, {3, 8, 8}};
    assert_spread(four, 4, "001123");
    assert_spread(four, 4, "00112233");
}

static void cores_count_before_their_threads(void **state) {
    (void)state;
    /* Node 0: two cores with two threads each. Node 5: four cores with one each. */
    static const spn_numa_node uneven[] = {{0, 4, 2}, {5, 4, 4}};
    assert_spread(uneven, 2, "005555");
    assert_spread(uneven, 2, "00005555");
    static const spn_numa_node small[] = {{2, 1, 1}, {3, 6, 6}}; /* what a mask left */
    assert_spread(small, 2, "2333333");
}

static bool was_run[4];
static void note_member(void *arg, uint32_t member) {
    (void)arg;
    was_run[member] = true;
}

/* On one node nothing is pinned; on any, the caller's thread keeps what it had. */
static void the_caller_stays_free(void **state) {
    (void)state;
    cpu_set_t before, after;
    if (sched_getaffinity(0, sizeof before, &before) != 0) skip();
    spn_pool *pool;
    assert_int_equal(spn_pool_create(&pool, 4, NULL), SPN_STATUS_OK);
    spn_pool_run(pool, note_member, NULL, 4);
    spn_pool_free(pool);
    assert_true(was_run[0]);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_memory_equal(&before, &after, sizeof before);
}

static void stay_on_first_node(void *arg) {
    cpu_set_t *after = arg;
    spn_thread_stay_on(0);
    sched_getaffinity(0, sizeof *after, after);
}

static void a_thread_stays_within_its_mask(void **state) {
    (void)state;
    cpu_set_t before, one, after;
    if (sched_getaffinity(0, sizeof before, &before) != 0) skip();
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    spn_thread *thread;
    spn_status status = spn_thread_start(&thread, stay_on_first_node, &after, "test", NULL);
    sched_setaffinity(0, sizeof before, &before);
    assert_int_equal(status, SPN_STATUS_OK);
    spn_thread_join(thread);
    assert_memory_equal(&after, &one, sizeof one);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_sets),
        cmocka_unit_test(other_texts_are_none),
        IN_FOLDER(one_node_is_no_matter),
        IN_FOLDER(two_nodes_with_hyper_threads),
        IN_FOLDER(nodes_without_memory_or_processors),
        IN_FOLDER(holes_and_offline_processors),
        IN_FOLDER(four_nodes),
        IN_FOLDER(nonsense_is_no_node),
        cmocka_unit_test(members_are_spread_evenly),
        cmocka_unit_test(cores_count_before_their_threads),
        cmocka_unit_test(the_caller_stays_free),
        cmocka_unit_test(a_thread_stays_within_its_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
