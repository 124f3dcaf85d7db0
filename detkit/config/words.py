"""Words of other toolboxes for arguments, which an error answers with the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from detkit.config.keys import WORDS
from detkit.utils.call_options import CallOptions
from detkit.utils.errors import nearest

# Arguments of other toolboxes for drawing a result and for searching settings, by what they are called here.
CALL_WORDS = {
    'show_labels': ('labels',),
    'show_conf': ('scores',),
    'conf': ('scores',),
    'show_boxes': ('bboxes',),
    'boxes': ('bboxes',),
    'show_masks': ('masks',),
    'linewidth': ('line_width',),
    'thickness': ('line_width',),
    'color_mode': ('color_by',),
    'iterations': ('num_trials',),
    'n_trials': ('num_trials',),
    'trials': ('num_trials',),
}
# The methods that do the work of other toolboxes' arguments of a call.
_DRAWING = 'it is an option of a result: result.plot({0}=…), result.save(path, {0}=…)'
CALL_HINTS = {
    'show': 'call show() of a result',
    'save': "call save('folder') of the results",
    'save_crop': "call save_crops('folder') of the results",
    'save_txt': "call save_yolo('folder') of the results",
    'save_conf': "call save_yolo('folder', scores=True) of the results",
    'save_csv': 'call save_csv(path) of the results',
    'save_json': 'call save_coco(path) of the results',
    'augment': 'write tta=True',
    'vid_stride': "give the source Video('clip.mp4', stride=2) of detkit.inference",
    'persist': 'model.track follows a whole video; give it the video, or the list of its frames',
    'stream_buffer': 'a stream drops the oldest frames that wait',
    'save_frames': 'call save(path) of a result',
    'verbose': 'nothing is printed; print(results) shows what was found',
    'half': "write amp='fp16'",
    **{word: _DRAWING.format(*CALL_WORDS[word]) for word in ('show_labels', 'show_conf', 'show_boxes')},
    'line_width': _DRAWING.format('line_width'),
}

# Attributes of ultralytics' objects, by what does the same here; docs/from_ultralytics.md lists them.
_NUMPY = 'the arrays of a result are NumPy arrays in main memory already'
ATTRIBUTE_HINTS = {
    'Detector': {
        'names': 'model.classes holds the class names by label',
        'to': "write Detector(…, device='cuda')",
        'load': 'write Detector(path)',
        'benchmark': 'run `detkit analyze benchmark`',
        'info': 'run `detkit analyze complexity`',
        'yaml': 'model.config() returns the config',
        'overrides': 'model.config() returns the config',
        'fuse': 'batch normalisation is folded into the convolutions already',
        'parameters': 'model.model is the network: model.model.parameters()',
        'state_dict': 'model.model is the network: model.model.state_dict()',
    },
    'Result': {
        'boxes': 'write result.bboxes, result.scores and result.labels',
        'xyxy': 'write result.bboxes',
        'conf': 'write result.scores',
        'cls': 'write result.labels',
        'obb': 'write result.rbboxes',
        'top1': 'write result.labels[0] and result.scores[0]',
        'top5': 'write result.labels[:5] and result.scores[:5]',
        'orig_img': 'write result.img, which is RGB',
        'orig_shape': 'write result.img_shape',
        'path': 'write result.img_path',
        'numpy': _NUMPY,
        'cpu': _NUMPY,
        'cuda': _NUMPY,
        'to': _NUMPY,
        'tojson': 'write result.to_json()',
        'to_df': 'write result.to_pandas()',
        'verbose': 'write result.summary',
        'save_crop': 'write result.save_crops(folder)',
        'save_txt': 'write result.save_yolo(path)',
        'to_csv': 'write results.save_csv(path)',
        'speed': 'run `detkit analyze benchmark`',
    },
}
ATTRIBUTE_HINTS['Results'] = {
    name: f'{hint}, for each result of the list' for name, hint in ATTRIBUTE_HINTS['Result'].items()
}


def no_attribute(owner: object, name: str, hint: str = '') -> AttributeError:
    """Return the error of an attribute that an object lacks.

    Args:
        owner: the object.
        name: the attribute.
        hint: what to write in its place; by default the right word for what other toolboxes call it, or the nearest.
    """
    kind = type(owner)
    hints = next((ATTRIBUTE_HINTS[each.__name__] for each in kind.__mro__ if each.__name__ in ATTRIBUTE_HINTS), {})
    public = [each for each in dir(owner) if not each.startswith('_')]
    hint = hint or hints.get(name, '')
    text = f'; {hint}' if hint else nearest(name, public, count=1).replace(' Did', '. Did')
    return AttributeError(f'{kind.__name__!r} object has no attribute {name!r}{text}', name=name, obj=owner)


_Options = TypeVar('_Options', bound=CallOptions)


def refuse_unknown(unknown: Mapping[str, Any], accepted: Sequence[str], where: str) -> None:
    """Raise ``TypeError`` for an argument that is unknown, with the right word for what other toolboxes call it."""
    if not unknown:
        return
    word = next(iter(unknown))
    meant = [*CALL_WORDS.get(word, ()), *(key.rpartition('.')[2] for key in WORDS.get(word, ()))]
    right = next((key for key in meant if key in accepted), None)
    hint = f'; write {right}=' if right else f'.{nearest(word, accepted)} It has {", ".join(accepted)}'
    if right is None and word in CALL_HINTS:
        hint = f'; {CALL_HINTS[word]}'
    hint = '; give it to Detector(...)' if 'device' in (word, *meant) and right is None else hint
    raise TypeError(f'{where} has no argument {word!r}{hint}')


def options_of_call(kind: type[_Options], given: Mapping[str, Any], where: str, others: Sequence[str] = ()) -> _Options:
    """Return the options that a call gave by name.

    Args:
        kind: their class.
        given: the options.
        where: what was called, for an error.
        others: further arguments of the call.

    Raises:
        TypeError: one is unknown; the text names the right word.
        ConfigError: one has a value that makes no sense.
    """
    names = kind.names()
    refuse_unknown({name: value for name, value in given.items() if name not in names}, (*others, *names), where)
    return kind(**given)


def refuse_settings(settings: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for a word of another toolbox, and name the variable or key that means the same here."""
    for word in settings:
        if word in CALL_WORDS and CALL_WORDS[word] == ('num_trials',):
            raise TypeError(f'there is no argument {word!r}; write num_trials= of tune()')
        keys = WORDS.get(word, ())
        if word == 'device' or 'device' in keys:
            raise TypeError(f'there is no argument {word!r} here; give device= to Detector(...)')
        if keys and word not in keys:
            named = {'max_epochs': 'epochs'}.get(keys[0], keys[0])
            right = f'options={{{named!r}: ...}}' if '.' in named else f'{named}='
            raise TypeError(f'there is no argument {word!r}; write {right}')


def joined_settings(
    named: Mapping[str, Any], settings: Mapping[str, Any], options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return all that a call changes of a config by key: its own arguments, further settings, and options.

    Raises:
        TypeError: a setting is a word of another toolbox, or one is given twice, of which one had no effect.
    """
    check_options(options)
    refuse_settings(settings)
    joined: dict[str, Any] = {}
    for given in (named, settings, options or {}):
        for key, value in given.items():
            if key in joined:
                name = {'max_epochs': 'epochs (max_epochs)'}.get(key, key)
                raise TypeError(f'{name} is given twice, as {joined[key]!r} and as {value!r}; give it once')
            joined[key] = value
    return joined


def check_space(space: object) -> None:
    """Raise ``TypeError`` for a search space that is no dict, or one with a word of another toolbox for a key."""
    if not isinstance(space, Mapping):
        example = "{'mosaic_prob': [0, 0.5, 1]}"
        raise TypeError(f'the search space is a dict such as {example}, not {space!r}')
    for word in space:
        keys = WORDS.get(word, ())
        if keys and word not in keys:
            raise TypeError(f'there is no setting {word!r} to search; write {keys[0]!r}')


def check_options(options: object) -> None:
    """Raise ``TypeError`` for options that are no dict."""
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"options are given as a dict such as {{'img_size': 320}}, not as {options!r}")
