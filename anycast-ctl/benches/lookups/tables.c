// Looks keys up in a map, in pseudo-random order. No header is needed: the few declarations are here.

typedef unsigned int u32;
typedef unsigned long long u64;

enum { XDP_DROP = 1, XDP_PASS = 2 };
enum { MAP_HASH = 1, MAP_ARRAY = 2 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;

#define SECTION(name) __attribute__((section(name), used))
#define MAP(name, kind, key_type, value_type, entries)                                             \
	struct {                                                                                   \
		int(*type)[kind];                                                                  \
		key_type *key;                                                                     \
		value_type *value;                                                                 \
		int(*max_entries)[entries];                                                        \
	} name SECTION(".maps")

// As large as those of FLOWS and BINDINGS.
struct flow_key {
	u64 words[5];
};

struct flow {
	u64 words[FLOW_OCTETS / 8];
};

struct binding_key {
	u64 words[4];
};

struct binding {
	u64 words[BINDING_OCTETS / 8];
};

struct walk {
	u64 state, mask, missed;
};

MAP(walk, MAP_ARRAY, u32, struct walk, 1);
MAP(flows, MAP_HASH, struct flow_key, struct flow, 1);
MAP(bindings, MAP_HASH, struct binding_key, struct binding, 1);

#define INLINE static inline __attribute__((always_inline))

// A generator with all values of 64 bits; the upper bits are the good ones.
INLINE struct walk *next(u64 *number)
{
	u32 zero = 0;
	struct walk *at = map_lookup(&walk, &zero);

	if (at) {
		at->state = at->state * 6364136223846793005 + 1442695040888963407;
		*number = (at->state >> 33) & at->mask;
	}
	return at;
}

INLINE struct flow_key flow_of(u64 number)
{
	// A client has 1024 flows.
	return (struct flow_key){ { 1, number >> 10, 2, 3, number & 1023 } };
}

SECTION("xdp") int flow_key(void *ctx)
{
	u64 number;

	if (!next(&number))
		return XDP_DROP;
	struct flow_key key = flow_of(number);

	// Somebody wants it.
	asm volatile("" : : "r"(&key) : "memory");
	return XDP_PASS;
}

SECTION("xdp") int find_flow(void *ctx)
{
	u64 number;
	struct walk *at = next(&number);

	if (!at)
		return XDP_DROP;
	struct flow_key key = flow_of(number);

	if (!map_lookup(&flows, &key))
		at->missed++;
	return XDP_PASS;
}

INLINE struct binding_key binding_of(u64 number)
{
	return (struct binding_key){ { 1, number, 2, 3 } };
}

SECTION("xdp") int binding_key(void *ctx)
{
	u64 number;

	if (!next(&number))
		return XDP_DROP;
	struct binding_key key = binding_of(number);

	asm volatile("" : : "r"(&key) : "memory");
	return XDP_PASS;
}

SECTION("xdp") int find_binding(void *ctx)
{
	u64 number;
	struct walk *at = next(&number);

	if (!at)
		return XDP_DROP;
	struct binding_key key = binding_of(number);

	if (!map_lookup(&bindings, &key))
		at->missed++;
	return XDP_PASS;
}

char terms[] SECTION("license") = "GPL";
