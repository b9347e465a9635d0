// Makes every frame a Test Init before it goes to the programs. They leave an answer in its place, which is eight
// octets longer. No header is needed: the few declarations are here.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { XDP_DROP = 1, MAP_ARRAY = 2, MAP_PROG_ARRAY = 3 };
// Octets of a Test Init and of its answer, and where the ends of the client's address and of the cookie are.
enum { INIT = 70, ANSWER = 78, CLIENT = 50, COOKIE = 66 };

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static long (*const adjust_head)(void *ctx, int by) = (void *)44;
static long (*const redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*const store)(void *ctx, u32 offset, void *from, u32 length) = (void *)190;

#define SECTION(name) __attribute__((section(name), used))
#define MAP(name, kind, value_type)                                                                \
	struct {                                                                                   \
		int(*type)[kind];                                                                  \
		u32 *key;                                                                          \
		value_type *value;                                                                 \
		int(*max_entries)[1];                                                              \
	} name SECTION(".maps")

struct image {
	u8 octets[72];
	u32 state, ifindex;
};

MAP(pristine, MAP_ARRAY, struct image);
MAP(next, MAP_PROG_ARRAY, u32);

// Of no two is the client the same. What it and the cookie add to the checksum is the same for all.
SECTION("xdp.frags") int test_inits(struct xdp_md *ctx)
{
	u32 zero = 0;
	struct image *image = map_lookup(&pristine, &zero);

	if (!image)
		return XDP_DROP;
	if (ctx->data_end - ctx->data == ANSWER && adjust_head(ctx, ANSWER - INIT))
		return XDP_DROP;
	image->state = image->state * 1664525 + 1013904223;
	*(u32 *)(image->octets + CLIENT) = image->state;
	*(u32 *)(image->octets + COOKIE) = ~image->state;
	if (store(ctx, 0, image->octets, INIT))
		return XDP_DROP;
	tail_call(ctx, &next, 0);
	return XDP_DROP;
}

// The same, sent by an interface.
SECTION("xdp.frags") int flood(struct xdp_md *ctx)
{
	u32 zero = 0;
	struct image *image = map_lookup(&pristine, &zero);

	if (!image)
		return XDP_DROP;
	image->state = image->state * 1664525 + 1013904223;
	*(u32 *)(image->octets + CLIENT) = image->state;
	*(u32 *)(image->octets + COOKIE) = ~image->state;
	if (store(ctx, 0, image->octets, INIT))
		return XDP_DROP;
	return redirect(image->ifindex, 0);
}

char terms[] SECTION("license") = "GPL";
