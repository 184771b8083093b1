"""Sizes of a file with one thing counted wrongly, for exercise 21.5."""

BLOCKS, TABLE, NORMS = 106_168_320, 28_311_552, 35_136
Q4_1, Q8_0, F32 = BLOCKS // 32 * 20, TABLE // 32 * 34, 4 * NORMS
SIZE = Q4_1 + Q8_0 + F32

WRONG_SIZES = {
    "the scales and least numbers are left out: a block of Q4_1 has 20 bytes, not 16.": BLOCKS // 2 + TABLE + F32,
    "a block of Q4_1 has a least number beside its scale: 20 bytes, not 18.": BLOCKS // 32 * 18 + Q8_0 + F32,
    "the embedding counts twice: it is tied.": Q4_1 + 2 * Q8_0 + F32,
    "the embedding is in Q8_0, 34 bytes a block.": (BLOCKS + TABLE) // 32 * 20 + F32,
    "all is counted in Q4_1.": 134_515_008 // 32 * 20,
    "norms have 4 bytes a number, not 2.": Q4_1 + Q8_0 + 2 * NORMS,
    "the norms are left out.": Q4_1 + Q8_0,
    "the embedding is left out.": Q4_1 + F32,
    "a tied table is stored once, in 8 bits; every number here has 4 bytes.": 4 * 134_515_008,
    "the norms are two in each block and one at the end.": Q4_1 + Q8_0 + 4 * 60 * 576,
    "a block has two norms.": Q4_1 + Q8_0 + 4 * 31 * 576,
    "keys and values have 3 heads of 64, not 9.": 30 * (4 * 576**2 + 3 * 576 * 1536) // 32 * 20 + Q8_0 + F32,
    "these are weights: 32 of them take 20 bytes or 34, a norm's take 4 each.": 134_515_008,
    "that is the whole file, with its names and its tokenizer: the numbers alone.": 98_362_432,
    "an MLP has three matrices of C * d_ff, not two.": Q4_1 - 30 * 576 * 1536 // 32 * 20 + Q8_0 + F32,
    "one block's matrices are counted: there are 30 blocks.": Q4_1 // 30 + Q8_0 + F32,
    "20 and 34 bytes are for 32 weights: divide by 32.": 20 * BLOCKS + 34 * TABLE + F32,
    "these are megabytes: bytes are asked for.": SIZE / 1e6,
    "these are bits: divide by 8.": 8 * SIZE,
}
