/* Lists, shared blocks and ASSERT itself. */
#include "base/list.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "base/assert.h"
#include "base/block.h"

struct item {
    int number;
    struct list link;
};

static void expect_numbers(struct list *head, const int *numbers, size_t count)
{
    struct list *link = head->next;
    for (size_t i = 0; i < count; i++, link = link->next) {
        cr_assert_neq(link, head, "too short");
        cr_assert_eq(LIST_ENTRY(link, struct item, link)->number, numbers[i]);
        cr_assert_eq(link->next->prev, link);
    }
    cr_assert_eq(link, head, "too long");
}

Test(list, keeps_the_order_and_lets_go_of_any)
{
    struct list head;
    list_init(&head);
    cr_expect(list_is_empty(&head));
    cr_expect_null(list_pop_front(&head));
    struct item items[4] = { { .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 } };
    for (int i = 0; i < 4; i++)
        list_push_back(&head, &items[i].link);
    expect_numbers(&head, (int[]){ 0, 1, 2, 3 }, 4);
    list_remove(&items[2].link);
    list_remove(&items[2].link); /* on no list: fine */
    cr_expect(list_is_empty(&items[2].link));
    expect_numbers(&head, (int[]){ 0, 1, 3 }, 3);
    cr_expect_eq(list_pop_front(&head), &items[0].link);
    list_push_back(&head, &items[0].link);
    list_push_back(&head, &items[2].link);
    expect_numbers(&head, (int[]){ 1, 3, 0, 2 }, 4);
    for (int i = 0; i < 4; i++)
        cr_expect(list_pop_front(&head));
    cr_expect(list_is_empty(&head));
}

Test(block, lives_as_long_as_its_references)
{
    struct block *b = block_new(10);
    cr_assert(b);
    cr_expect_eq(b->capacity_bytes, 10);
    cr_expect_eq(block_ref(b), b);
    block_unref(b);
    b->data[9] = 1; /* still ours: the sanitizer would say otherwise */
    cr_expect_eq(b->refs, 1);
    block_unref(b);
    block_unref(NULL);
    cr_expect_null(block_new(SIZE_MAX));
}

Test(block, a_reference_too_many_stops_the_program, .signal = SIGABRT)
{
    struct block *b = block_new(1);
    b->refs = UINT32_MAX;
    block_ref(b);
}

Test(block, a_reference_to_nothing_stops_the_program, .signal = SIGABRT)
{
    struct block *b = block_new(1);
    b->refs = 0;
    block_ref(b);
}

Test(assert, stops_the_program, .signal = SIGABRT)
{
    ASSERT(1 + 1 == 3);
}

Test(assert, evaluates_its_claim_once_and_goes_on)
{
    int evaluated = 0;
    ASSERT(++evaluated == 1 || evaluated > 1);
    cr_expect_eq(evaluated, 1);
    ASSERT(evaluated);
    IGNORE(++evaluated, "to see that it is still called");
    cr_expect_eq(evaluated, 2);
}
