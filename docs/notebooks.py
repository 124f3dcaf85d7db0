"""Hooks of the site's build that show notebooks as pages; the notebooks are their only source.

A page links to a notebook as to any other page, and a notebook to pages; both are checked by ``mkdocs build --strict``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

SUFFIX = '.ipynb'


class NotebookFile(File):
    """A notebook, which becomes a page."""

    def is_documentation_page(self) -> bool:
        return True


def page_text(notebook: dict) -> str:
    """Return the Markdown of a notebook's cells; outputs are left out."""
    texts = []
    for cell in notebook['cells']:
        text = ''.join(cell['source'])
        texts.append(f'```python\n{text}\n```' if cell['cell_type'] == 'code' else text)
    return '\n\n'.join(texts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make pages of the notebooks."""
    for file in list(files):
        if file.src_uri.endswith(SUFFIX):
            files.remove(file)
            files.append(NotebookFile(file.src_uri, config.docs_dir, config.site_dir, config.use_directory_urls))
    return files


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    """Return the Markdown of a page that is a notebook, with a link to the notebook below the title."""
    path = Path(page.file.abs_src_path)
    if path.suffix != SUFFIX:
        return None
    title, _, rest = page_text(json.loads(path.read_text(encoding='utf-8'))).partition('\n')
    return f'{title}\n\n<a href="{path.name}" download>Download this page as a notebook</a>\n{rest}'


def on_post_build(config: MkDocsConfig) -> None:
    """Put each notebook beside its page, where the link leads."""
    for path in Path(config.docs_dir).rglob(f'*{SUFFIX}'):
        page = Path(config.site_dir) / path.relative_to(config.docs_dir).with_suffix('')
        shutil.copy(path, page / path.name)
