"""A hook of the site's build for its search: the words by which people look for a page that says it in others.

A page is found by its text and, first of all, by its words here. The reference comes after the pages that explain.
"""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

WORDS = {
    'get_started.md': 'install, pip, quickstart, CPU only, custom dataset, train, epochs',
    'command_line.md': 'CLI, terminal, exit code, autocomplete',
    'python.md': 'Python API, predict, inference, numpy, pandas, Jupyter, confidence threshold',
    'tasks.md': 'detection, segmentation, classification, OBB',
    'models.md': 'model zoo, model size, benchmark results, mAP, YOLOv8, YOLOv5, YOLOv3',
    'from_ultralytics.md': 'migrate from ultralytics, YOLO()',
    'from_mmdetection.md': 'migrate from mmdetection, mmcv, mmengine',
    'compared.md': 'alternatives, YOLO11, YOLO26, RT-DETR, Faster R-CNN, LoRA, supervision, distillation',
    'troubleshooting.md': 'error, NaN, out of memory, OOM, CUDA, overfitting, FAQ',
    'tutorials/detect.ipynb': 'tutorial, object detection',
    'tutorials/segment.ipynb': 'instance segmentation, masks, polygons',
    'tutorials/pose.ipynb': 'keypoints, pose estimation',
    'tutorials/classify.ipynb': 'image classification',
    'panoptic.md': 'semantic segmentation, stuff',
    'detr.md': 'DETR, transformer, Hungarian matching',
    'yolo_data.md': 'label format, data.yaml, annotations',
    'dataset_formats.md': 'dataset, COCO, labelme, CVAT, Roboflow, convert dataset',
    'several_datasets.md': 'validation split, class imbalance, oversampling, merge datasets, background images',
    'voc.md': 'PASCAL VOC, XML',
    'rotated_boxes.md': 'oriented bounding box, OBB, DOTA, aerial',
    'training.md': (
        'learning rate, optimizer, scheduler, warmup, EMA, AMP, mixed precision, freeze, transfer learning, early '
        'stopping, gradient accumulation, TensorBoard, wandb, MLflow, custom metrics, callbacks, hook, '
        'multi-scale'
    ),
    'tune.md': 'hyperparameter, hyperparameter search, HPO, Optuna',
    'anchors.md': 'anchor, anchor boxes, autoanchor',
    'distributed.md': 'multi-GPU, distributed, DDP, torchrun, Slurm, SyncBN, GPU',
    'reliability.md': 'resume, checkpoint, preemption, crash',
    'video.md': 'video, webcam, camera, RTSP, stream, tracking, MOT, ByteTrack, counting',
    'zoo.md': 'pretrained weights, weights, download, license, offline',
    'convert.md': 'convert weights, import .pt',
    'darknet.md': 'Darknet, cfg, AlexeyAB',
    'tiles.md': 'SAHI, slicing, small objects, large images, satellite',
    'tta.md': 'test-time augmentation, TTA, weighted box fusion',
    'outputs.md': 'save results, csv, json, crops, save_txt',
    'export.md': 'export, ONNX, TensorRT, OpenVINO, TFLite, quantization, int8, deployment, NMS, edge',
    'serve.md': 'REST API, server, HTTP, Docker, Prometheus, FastAPI',
    'analyze.md': 'analysis, evaluation, visualization',
    'analyze/compare.md': 'A/B test, statistical significance, bootstrap, ablation',
    'analyze/benchmark.md': 'benchmark, latency, speed, FPS, profiling, FLOPs, throughput',
    'analyze/errors.md': 'confusion matrix, false positives, TIDE, precision recall, F1',
    'analyze/data.md': 'dataset statistics, duplicates, label errors, augmentation preview, loss curves',
    'analyze/check.md': 'Grad-CAM, heatmap, explainability, feature maps, dry run, sanity check',
    'add_a_component.md': 'custom backbone, custom head, custom loss, register, plugin',
    'configs.md': 'config, inheritance, _base_, cfg-options',
    'parts.md': 'backbone, neck, head, architecture, activation',
    'data_flow.md': 'augmentation, mosaic, mixup, copy-paste, pipeline, reproducibility, seed',
    'security.md': 'security, pickle, untrusted, vulnerability, CVE',
}
REFERENCE_BOOST = 0.5  # of the results' scores


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Refuse words for a page that does not exist."""
    missing = sorted(WORDS.keys() - {file.src_uri for file in files.documentation_pages()})
    if missing:
        raise PluginError(f'docs/search_words.py has words for {", ".join(missing)}, which does not exist')
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Give a page its words, and the reference a lower rank."""
    if page.file.src_uri in WORDS:
        page.meta['tags'] = WORDS[page.file.src_uri].split(', ')
    if page.file.src_uri.startswith('reference/'):
        page.meta['search'] = {'boost': REFERENCE_BOOST}
