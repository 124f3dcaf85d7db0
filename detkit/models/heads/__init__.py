"""Heads: from features to predictions, losses and results."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.heads.anchor_head import AnchorHead
    from detkit.models.heads.base_head import BaseHead
    from detkit.models.heads.dense_head import DenseHead
    from detkit.models.heads.detr_head import DETRHead
    from detkit.models.heads.detr_segment_head import DETRSegmentHead
    from detkit.models.heads.dfine_head import DFINEHead
    from detkit.models.heads.dfine_obb_head import DFINEOBBHead
    from detkit.models.heads.dfine_segment_head import DFINESegmentHead
    from detkit.models.heads.dual_head import DualHead
    from detkit.models.heads.fcos_head import FCOSHead
    from detkit.models.heads.fpn_anchor_head import FPNAnchorHead
    from detkit.models.heads.fpn_head import FPNHead
    from detkit.models.heads.mlp_classify_head import MLPClassifyHead
    from detkit.models.heads.query_head import QueryHead
    from detkit.models.heads.retina_head import RetinaHead
    from detkit.models.heads.rfdetr_head import RFDETRHead
    from detkit.models.heads.rfdetr_obb_head import RFDETROBBHead
    from detkit.models.heads.rfdetr_segment_head import RFDETRSegmentHead
    from detkit.models.heads.rpn_head import RPNHead
    from detkit.models.heads.rtdetr_head import RTDETRHead
    from detkit.models.heads.rtdetr_obb_head import RTDETROBBHead
    from detkit.models.heads.rtdetr_segment_head import RTDETRSegmentHead
    from detkit.models.heads.two_stage_head import TwoStageHead
    from detkit.models.heads.yolo26_head import DirectHead, YOLO26Head
    from detkit.models.heads.yolo26_obb_head import DirectOBBHead, YOLO26OBBHead
    from detkit.models.heads.yolo26_pose_head import DirectPoseHead, YOLO26PoseHead
    from detkit.models.heads.yolo26_segment_head import DirectSegmentHead, YOLO26SegmentHead
    from detkit.models.heads.yolo_world_head import YOLOWorldHead
    from detkit.models.heads.yolov3_head import YOLOv3Head
    from detkit.models.heads.yolov5_head import YOLOv5Head
    from detkit.models.heads.yolov8_classify_head import YOLOv8ClassifyHead
    from detkit.models.heads.yolov8_head import YOLOv8Head
    from detkit.models.heads.yolov8_obb_head import YOLOv8OBBHead
    from detkit.models.heads.yolov8_pose_head import YOLOv8PoseHead
    from detkit.models.heads.yolov8_segment_head import YOLOv8SegmentHead
    from detkit.models.heads.yolov10_head import YOLOv10Head
    from detkit.models.heads.yolox_head import YOLOXHead

__getattr__ = lazy_names(
    __name__,
    {
        'AnchorHead': 'anchor_head',
        'BaseHead': 'base_head',
        'DETRHead': 'detr_head',
        'DETRSegmentHead': 'detr_segment_head',
        'DenseHead': 'dense_head',
        'DFINEHead': 'dfine_head',
        'DFINEOBBHead': 'dfine_obb_head',
        'DFINESegmentHead': 'dfine_segment_head',
        'DirectHead': 'yolo26_head',
        'DirectOBBHead': 'yolo26_obb_head',
        'DirectPoseHead': 'yolo26_pose_head',
        'DirectSegmentHead': 'yolo26_segment_head',
        'DualHead': 'dual_head',
        'MLPClassifyHead': 'mlp_classify_head',
        'QueryHead': 'query_head',
        'RTDETRHead': 'rtdetr_head',
        'RTDETROBBHead': 'rtdetr_obb_head',
        'RTDETRSegmentHead': 'rtdetr_segment_head',
        'RFDETRHead': 'rfdetr_head',
        'RFDETROBBHead': 'rfdetr_obb_head',
        'RFDETRSegmentHead': 'rfdetr_segment_head',
        'YOLO26Head': 'yolo26_head',
        'YOLO26OBBHead': 'yolo26_obb_head',
        'YOLO26PoseHead': 'yolo26_pose_head',
        'YOLO26SegmentHead': 'yolo26_segment_head',
        'YOLOWorldHead': 'yolo_world_head',
        'YOLOv10Head': 'yolov10_head',
        'YOLOv3Head': 'yolov3_head',
        'YOLOv5Head': 'yolov5_head',
        'YOLOv8ClassifyHead': 'yolov8_classify_head',
        'YOLOv8Head': 'yolov8_head',
        'YOLOv8OBBHead': 'yolov8_obb_head',
        'YOLOv8PoseHead': 'yolov8_pose_head',
        'YOLOv8SegmentHead': 'yolov8_segment_head',
        'YOLOXHead': 'yolox_head',
        'FPNHead': 'fpn_head',
        'FPNAnchorHead': 'fpn_anchor_head',
        'RetinaHead': 'retina_head',
        'FCOSHead': 'fcos_head',
        'RPNHead': 'rpn_head',
        'TwoStageHead': 'two_stage_head',
    },
)

__all__ = [
    'AnchorHead',
    'BaseHead',
    'DETRHead',
    'DETRSegmentHead',
    'DenseHead',
    'DFINEHead',
    'DFINEOBBHead',
    'DFINESegmentHead',
    'DirectHead',
    'DirectOBBHead',
    'DirectPoseHead',
    'DirectSegmentHead',
    'DualHead',
    'MLPClassifyHead',
    'QueryHead',
    'RTDETRHead',
    'RTDETROBBHead',
    'RTDETRSegmentHead',
    'RFDETRHead',
    'RFDETROBBHead',
    'RFDETRSegmentHead',
    'YOLO26Head',
    'YOLO26OBBHead',
    'YOLO26PoseHead',
    'YOLO26SegmentHead',
    'YOLOWorldHead',
    'YOLOv10Head',
    'YOLOv3Head',
    'YOLOv5Head',
    'YOLOv8ClassifyHead',
    'YOLOv8Head',
    'YOLOv8OBBHead',
    'YOLOv8PoseHead',
    'YOLOv8SegmentHead',
    'YOLOXHead',
    'FPNHead',
    'FPNAnchorHead',
    'RetinaHead',
    'FCOSHead',
    'RPNHead',
    'TwoStageHead',
]
