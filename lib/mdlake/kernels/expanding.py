"""A step of `kernels.rans_rows.decode` for 32 lanes at once, where the processor spreads words over lanes by itself.

Which lanes take a word is known only when their states are, so a loop has to go from lane to lane. AVX-512 has an
instruction for it (VPEXPANDW), which LLVM knows but makes of no loop: so this is LLVM's intermediate representation. It
says what the loops of `decode` say and can be compiled for any machine, but pays on those with that instruction only.
"""

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32
FITS = bool(llvm.get_host_cpu_features().get("avx512vbmi2", False))

_BYTE, _WORD, _INT, _LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_PAIRS = ir.VectorType(_LONG, LANES // 2)
_BITS, _BYTES, _WORDS, _INTS, _LONGS = (ir.VectorType(ir.IntType(bits), LANES) for bits in (1, 8, 16, 32, 64))


@intrinsic
def decode_lanes(typing, states, cells, words, symbols):  # type: ignore[no-untyped-def]
    """Addresses, uint64: of the lanes' states, the cells of their table, their next word, and where symbols go.

    Returns how many words were read; no other memory is looked at.
    """
    return types.uint64(states, cells, words, symbols), _generate


def _generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    states, cells, words, symbols = arguments
    place = builder.inttoptr(states, _INTS.as_pointer())
    state = builder.load(place, align=4)
    found = _look_up(builder, builder.inttoptr(cells, _INT.as_pointer()), state)
    builder.store(builder.trunc(found, _BYTES), builder.inttoptr(symbols, _BYTES.as_pointer()), align=1)
    frequency = builder.add(builder.and_(builder.lshr(found, _all(_INTS, 8)), _all(_INTS, 0xFFF)), _all(_INTS, 1))
    state = builder.mul(frequency, builder.lshr(state, _all(_INTS, 12)))
    state = builder.add(state, builder.lshr(found, _all(_INTS, 20)))
    need = builder.icmp_unsigned("<", state, _all(_INTS, 1 << 16))
    ahead = _call(
        builder, f"llvm.masked.expandload.v{LANES}i16", _WORDS,
        builder.inttoptr(words, _WORD.as_pointer()), need, _all(_WORDS, 0),
    )  # fmt: skip
    longer = builder.or_(builder.shl(state, _all(_INTS, 16)), builder.zext(ahead, _INTS))
    builder.store(builder.select(need, longer, state), place, align=4)
    return builder.zext(builder.ctpop(builder.bitcast(need, ir.IntType(LANES))), _LONG)


def _look_up(builder, cells, state):  # type: ignore[no-untyped-def]
    """The cells of the slots, the last 12 bits of each state: by loads one by one, of two lanes in a register.

    Processors with an instruction for it (VPGATHERDD) take at least as long.
    """
    pairs = builder.bitcast(builder.and_(state, _all(_INTS, 0xFFF)), _PAIRS)
    found = ir.Constant(_INTS, ir.Undefined)
    for lane in range(0, LANES, 2):
        pair = builder.extract_element(pairs, ir.Constant(_INT, lane // 2))
        slots = builder.and_(pair, ir.Constant(_LONG, 0xFFF)), builder.lshr(pair, ir.Constant(_LONG, 32))
        for place, slot in enumerate(slots):
            cell = builder.load(builder.gep(cells, [slot]), align=4)
            found = builder.insert_element(found, cell, ir.Constant(_INT, lane + place))
    return found


@intrinsic
def encode_lanes(typing, states, cells, words, symbols):  # type: ignore[no-untyped-def]
    """As `decode_lanes`, backwards: words end where `words` is; a cell, uint64, is the reciprocal << 32 | the range.

    Returns how many words were written, and in the high half, a bit for each lane, which symbols have the first slots.
    """
    return types.uint64(states, cells, words, symbols), _generate_encode


def _generate_encode(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    states, cells, words, symbols = arguments
    place = builder.inttoptr(states, _INTS.as_pointer())
    state = builder.load(place, align=4)
    symbol = builder.zext(builder.load(builder.inttoptr(symbols, _BYTES.as_pointer()), align=1), _LONGS)
    first = builder.insert_element(ir.Constant(_LONGS, ir.Undefined), cells, ir.Constant(_INT, 0))
    first = builder.shuffle_vector(first, first, _all(_INTS, 0))
    pointers = ir.VectorType(_LONG.as_pointer(), LANES)
    found = _call(
        builder, f"llvm.masked.gather.v{LANES}i64.v{LANES}p0", _LONGS,
        builder.inttoptr(builder.add(first, builder.shl(symbol, _all(_LONGS, 3))), pointers),
        ir.Constant(_INT, 8), _all(_BITS, 1), _all(_LONGS, 0),
    )  # fmt: skip
    cell = builder.trunc(found, _INTS)
    frequency, start = (
        builder.add(builder.lshr(cell, _all(_INTS, 16)), _all(_INTS, 1)),
        builder.and_(cell, _all(_INTS, 0xFFFF)),
    )
    full = builder.icmp_unsigned(">=", builder.lshr(state, _all(_INTS, 20)), frequency)
    count = builder.zext(builder.ctpop(builder.bitcast(full, _INT)), _LONG)
    low = builder.trunc(state, _WORDS)
    together = _call(builder, f"llvm.experimental.vector.compress.v{LANES}i16", _WORDS, low, full, _all(_WORDS, 0))
    ones = builder.sub(builder.shl(ir.Constant(_LONG, 1), count), ir.Constant(_LONG, 1))
    into = builder.inttoptr(builder.sub(words, builder.shl(count, ir.Constant(_LONG, 1))), _WORDS.as_pointer())
    _call(
        builder, f"llvm.masked.store.v{LANES}i16.p0", ir.VoidType(),
        together, into, ir.Constant(_INT, 2), builder.bitcast(builder.trunc(ones, _INT), _BITS),
    )  # fmt: skip
    state = builder.select(full, builder.lshr(state, _all(_INTS, 16)), state)
    wide = builder.mul(builder.zext(state, _LONGS), builder.lshr(found, _all(_LONGS, 32)))
    quotient = builder.trunc(builder.lshr(wide, _all(_LONGS, 32)), _INTS)
    short = builder.icmp_unsigned(">=", builder.sub(state, builder.mul(quotient, frequency)), frequency)
    quotient = builder.add(quotient, builder.zext(short, _INTS))
    gap = builder.sub(_all(_INTS, 1 << 12), frequency)
    builder.store(builder.add(builder.add(state, start), builder.mul(quotient, gap)), place, align=4)
    rare = builder.bitcast(builder.icmp_unsigned("==", start, _all(_INTS, 0)), _INT)
    return builder.or_(count, builder.shl(builder.zext(rare, _LONG), ir.Constant(_LONG, 32)))


def _all(vector: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(vector, [value] * LANES)


def _call(builder, name: str, result: ir.Type, *arguments):  # type: ignore[no-untyped-def]
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
