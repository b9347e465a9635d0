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
	u64 state, mask, missed, sets;
};

MAP(walk, MAP_ARRAY, u32, struct walk, 1);
// The table of pinned flows, as `anycast-common/src/abi/flow_table.rs` describes it.
enum { SLOTS = 8 };

struct slot {
	u64 key[5], check, care_of[2], times[3], rest[5];
};

struct set {
	u64 tags[2];
	u32 heard[SLOTS];
	u64 reserved[2];
	struct slot slots[SLOTS];
};

MAP(sets, MAP_ARRAY, u32, struct set, 1);
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

// As in `tables.rs`.
static const u64 secret[5] = { 0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0,
			       0x082efa98ec4e6c89, 0x452821e638d01377 };

#define LANES 0x0001000100010001ull
#define BELOW_TOP 0x7fff7fff7fff7fffull
#define LOW(word) ((word) & 0xffffffff)

INLINE u64 zeros(u64 lanes)
{
	return ~(((lanes & BELOW_TOP) + BELOW_TOP) | lanes | BELOW_TOP);
}

INLINE int is_in(u32 number, u64 hash, struct flow_key *key)
{
	struct set *set = map_lookup(&sets, &number);
	u64 tag = (1 + ((hash >> 48) * 0xffff >> 16)) * LANES;
	u64 found;

	if (!set)
		return 0;
	found = zeros(set->tags[0] ^ tag) >> 15 | zeros(set->tags[1] ^ tag) >> 11;
	if (!found)
		return 0;
	number = ((found & -found) *
		  (1ull << 45 | 2ull << 29 | 3ull << 13 | 4ull << 57 | 5ull << 41 | 6ull << 25 | 7ull << 9)) >> 61;
	struct slot *slot = &set->slots[number & (SLOTS - 1)];

	for (int word = 0; word < 5; word++)
		if (slot->key[word] != key->words[word])
			return 0;
	// The difference that the address makes to a checksum is zero here.
	return slot->check == (((hash ^ slot->care_of[0]) * 0x94d049bb133111ebull) ^
			       (slot->care_of[1] * 0x9e3779b97f4a7c15ull));
}

SECTION("xdp") int find_pinned(void *ctx)
{
	u64 number, hash = 0;
	struct walk *at = next(&number);

	if (!at)
		return XDP_DROP;
	struct flow_key key = flow_of(number);

	for (int word = 0; word < 5; word++)
		hash += LOW(key.words[word] + secret[word]) *
			LOW((key.words[word] >> 32) + (secret[word] >> 32));
	hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15ull;
	hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ull;
	hash ^= hash >> 32;
	u32 first = LOW(hash) * at->sets >> 32;
	u32 second = LOW(LOW(hash ^ hash >> 40) * 0x9e3779b1) * at->sets >> 32;

	if (!is_in(first, hash, &key) && !is_in(second, hash, &key))
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
