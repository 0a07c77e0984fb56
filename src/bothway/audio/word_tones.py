"""Words as tones, and the same words read back exactly: speech for machines, at the pace of speech.

A text lasts 60 ms a character, whitespace included. What stands between whitespace is a word, whitespace is silence,
and every other character sounds at -20 dBFS: a chord of ten tones that spell 40 bits.

| ms of a character | what sounds |
|---|---|
| 0 to 8 | in the first of a word a sweep up from 400 to 3200 Hz, by which a reader finds it; in the others the chord already |
| 8 to 60 | the chord: in each of ten bands of sixteen pitches one tone; pitches are 1000/52 Hz apart, from 308 to 3365 Hz |

The bits are, highest first: the code point (21), whether it ends the word (1), and a check (18) that depends on all the
characters of the word so far. So nothing but a word from its first sample on, in one piece, reads as a word; and a word
that is cut ends without its end. Pitches and times are the same at all rates.

A word is heard when its last sample was: `WordReader` takes a word for whole unless 3 ms of its end are missing (1 ms
may be; in between it depends), 4 ms anywhere inside it, or 2 ms of its start.
"""
