from detkit.structures.tile_grid import tile_rects, tile_starts


def test_tiles_cover_the_image():
    assert tile_starts(100, 128, 20) == [0] and tile_starts(128, 128, 20) == [0]
    assert tile_starts(300, 128, 28) == [0, 100, 172]
    for length in (129, 228, 229, 1000):
        starts = tile_starts(length, 128, 28)
        assert starts[0] == 0 and starts[-1] + 128 == length and len(set(starts)) == len(starts)
        assert all(0 < b - a <= 100 for a, b in zip(starts, starts[1:], strict=False))


def test_tiles_need_not_be_square():
    assert tile_rects((100, 250), (128, 128), (20, 28)) == [(0, 0, 128, 100), (100, 0, 228, 100), (122, 0, 250, 100)]
    assert tile_rects((60, 50), (128, 64), (0, 0)) == [(0, 0, 50, 60)]
